"""One step in numbers: five completions of a question with their rewards, advantages and losses.

    python -m examples.grpo.walk_through

The completions are given instead of sampled, and they are scored for the second time. Everything else is computed by
the functions of a training.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from examples.grpo.advantage import clipped_loss, group_advantages, memory_share, token_mean
from examples.grpo.config import Config
from examples.grpo.policy import score
from examples.grpo.rewards import Rewards, compute_rewards, open_memory
from examples.grpo.rollout import Rollout
from examples.grpo.tasks.clock import CLOSE, END, GUESS, OPEN, UNCLOSED, Clock, ask, working
from examples.grpo.tiny import END as LAST
from examples.grpo.tiny import TinyPolicy

DRAWN = (7, [5, 9, 1, 2, 6])
WORK = OPEN + working(*DRAWN)
COMPLETIONS = (
    ("worked, right", WORK + CLOSE + "6" + END),
    ("worked, right", WORK + CLOSE + "6" + END),
    ("worked, a slip", WORK.replace("= 6", "= 5") + CLOSE + "5" + END),
    ("not closed", WORK + UNCLOSED + "6"),
    ("a wrong guess", OPEN + GUESS + CLOSE + "9" + END),
)
NAMES, TEXTS = zip(*COMPLETIONS, strict=True)
CONFIG = Config(model="tiny", task="clock", memory={"components": {"exploit": 2.0}}, group_size=len(COMPLETIONS))


def lines() -> Iterator[str]:
    """The lines of the walk-through."""
    task, question = Clock(CONFIG.seed), ask(*DRAWN)
    torch.manual_seed(CONFIG.seed)
    policy = TinyPolicy(task.pieces, CONFIG.max_prompt, CONFIG.max_completion)
    sampled = Rollout(
        questions=[question] * len(TEXTS),
        prompts=[policy.prompt(question)] * len(TEXTS),
        completions=[[*policy.tokenizer.encode(text), LAST] for text in TEXTS],
        texts=list(TEXTS),
        truncated=[False] * len(TEXTS),
    )
    yield f"{question.text} ({question.answer})"
    with open_memory(CONFIG, task) as memory:
        compute_rewards(CONFIG, task, memory, sampled, 0)  # fills the memory and the windows
        rewards = compute_rewards(CONFIG, task, memory, sampled, 1)
    yield from _rewards(rewards)
    advantages = group_advantages(rewards.total, CONFIG.group_size, CONFIG.variant)
    yield from _advantages(rewards, advantages)
    yield from _loss(policy, sampled, advantages)


def _rewards(rewards: Rewards) -> Iterator[str]:
    yield "1. reward = outcome + format + 2 exploit   outcome  format  exploit  reward"
    columns = (rewards.outcome, rewards.format, rewards.components["exploit"], rewards.total)
    for name, *values in zip(NAMES, *columns, strict=True):
        outcome, form, exploit, total = map(float, values)
        yield f"   {name:38}  {outcome:7.0f}  {form:6.3f}  {exploit:7.3f}  {total:6.3f}"


def _advantages(rewards: Rewards, advantages: Tensor) -> Iterator[str]:
    mean, deviation = float(rewards.total.mean()), float(rewards.total.std())
    yield f"2. advantage = (reward - {mean:.3f}) / ({deviation:.3f} + 0.0001)"
    yield "   " + "  ".join(f"{advantage:+.3f}" for advantage in advantages.tolist())
    share = memory_share(rewards.total, rewards.memory, rewards.outcome, CONFIG.group_size)["all"]
    yield f"   of the advantages' variance, {share:.1%} comes from the memory"


def _loss(policy: TinyPolicy, sampled: Rollout, advantages: Tensor) -> Iterator[str]:
    scores = score(policy, policy.model, sampled.prompts, sampled.completions, CONFIG.temperature)
    scores.logp.retain_grad()
    tokens = clipped_loss(scores.logp, scores.logp.detach(), advantages, CONFIG.clip)
    losses = token_mean(tokens, scores.mask, CONFIG.variant, CONFIG.max_completion)
    torch.autograd.backward(losses.mean())
    assert scores.logp.grad is not None
    yield "3. loss = mean over tokens of -ratio advantage, ratio = 1   tokens    loss  d/d log p"
    columns = zip(NAMES, sampled.completions, losses.tolist(), scores.logp.grad[:, 0].tolist(), strict=True)
    for name, completion, loss, slope in columns:
        yield f"   {name:54}  {len(completion):6d}  {loss:+.3f}   {slope:+.5f}"


if __name__ == "__main__":
    print("\n".join(lines()))
