"""Supervised warm start of the tiny model from a task's demonstrations, stored for each seed."""

from __future__ import annotations

import hashlib
import inspect
import os
import random
from pathlib import Path

import torch

from examples.grpo.policy import score
from examples.grpo.tasks.task import Lesson
from examples.grpo.tiny import END, TinyGPT, TinyPolicy

BATCH, LEARNING_RATE, BETAS, RISE = 64, 6e-3, (0.9, 0.95), 20


def warm_start(policy: TinyPolicy, task: Lesson, seed: int, folder: Path, lessons: int | None = None) -> None:
    """Set the policy's weights to those trained on the demonstrations. Weights found in `folder` are reused.

    Args:
        lessons: steps of supervised learning. Default: the task's.
    """
    lessons = lessons or task.lessons
    path = folder / f"{task.name}-{seed}-{lessons}-{_fingerprint(policy, task)}.pt"
    if not path.exists():
        teach(policy, task, seed, lessons)
        folder.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(f".{os.getpid()}")
        torch.save(policy.model.state_dict(), unfinished)
        unfinished.replace(path)
    policy.model.load_state_dict(torch.load(path, weights_only=True))


def teach(policy: TinyPolicy, task: Lesson, seed: int, lessons: int) -> None:
    """Train on demonstrations. The learning rate rises linearly for 20 steps, then falls linearly to 0."""
    dice = random.Random(f"lessons {seed}")
    optimizer = torch.optim.AdamW(policy.model.parameters(), betas=BETAS, weight_decay=0.0)
    for step in range(lessons):
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * min((step + 1) / RISE, 1 - step / lessons)
        shown = [task.demonstration(dice) for _ in range(BATCH)]
        prompts = [policy.tokenizer.encode(question) for question, _ in shown]
        completions = [[*policy.tokenizer.encode(text), END] for _, text in shown]
        scores = score(policy, policy.model, prompts, completions, temperature=1.0)
        optimizer.zero_grad()
        torch.autograd.backward(-scores.logp[scores.mask].mean())
        optimizer.step()


def _fingerprint(policy: TinyPolicy, task: Lesson) -> str:
    """A hash of the weights' shapes and of the code that makes them, so that outdated weights are not reused."""
    shapes = [tuple(weight.shape) for weight in policy.model.parameters()]
    code = [Path(inspect.getfile(own)).read_text("utf-8") for own in (type(task), TinyGPT, score, teach)]
    return hashlib.sha256(f"{torch.__version__} {shapes} {code}".encode()).hexdigest()[:12]
