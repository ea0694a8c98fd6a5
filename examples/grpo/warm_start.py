"""Supervised learning before the reinforcement: 300 steps of 64 demonstrations, kept on disk for each seed."""

from __future__ import annotations

import hashlib
import inspect
import os
import random
from pathlib import Path

import torch

from examples.grpo import policy, tiny
from examples.grpo.policy import TinyPolicy, score
from examples.grpo.tasks import clock

STEPS, BATCH, LEARNING_RATE, RISE = 300, 64, 6e-3, 20


def warm_start(started: TinyPolicy, task: clock.Clock, seed: int, folder: Path) -> None:
    """Give the policy the weights that the demonstrations teach; taken from `folder` where they are there already."""
    path = folder / f"clock-{seed}-{_fingerprint()}.pt"
    if not path.exists():
        teach(started, task, seed)
        folder.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(f".{os.getpid()}")
        torch.save(started.model.state_dict(), unfinished)
        unfinished.replace(path)
    started.model.load_state_dict(torch.load(path, weights_only=True))


def teach(started: TinyPolicy, task: clock.Clock, seed: int) -> None:
    """Raise the probability of demonstrations; the learning rate rises for 20 steps and falls to 0, along lines."""
    dice = random.Random(f"warm start {seed}")
    optimizer = torch.optim.AdamW(started.model.parameters(), betas=(0.9, 0.95), weight_decay=0.0)
    for step in range(STEPS):
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * min((step + 1) / RISE, 1 - step / STEPS)
        shown = [task.demonstration(dice) for _ in range(BATCH)]
        prompts = [started.tokenizer.encode(question) for question, _ in shown]
        completions = [[*started.tokenizer.encode(text), tiny.END] for _, text in shown]
        scores = score(started, started.model, prompts, completions, temperature=1.0)
        loss = -scores.logp[scores.mask].mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def _fingerprint() -> str:
    """Of the code that the weights come from, so that weights from other code are not taken for them."""
    code = "".join(inspect.getsource(module) for module in (clock, tiny, policy, inspect.getmodule(warm_start)))
    return hashlib.sha256(f"{torch.__version__}{code}".encode()).hexdigest()[:12]
