"""`dial` with wrong labels: which questions get one, and which."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass
from typing import Literal

import torch

from examples.grpo.config import Config
from examples.grpo.policy import Policy
from examples.grpo.rollout import rollout
from examples.grpo.tasks.dial import DIGITS, Dial
from examples.grpo.tasks.task import Question
from examples.grpo.train import make_policy, number_of

QUESTIONS = 64
SAMPLES = 32
"""Completions of each question that say what the policy likes before it is trained."""

Kind = Literal["random", "self-liked"]
"""`random`: any wrong digit. `self-liked`: the wrong digit that the untrained policy gives most often."""


@dataclass(frozen=True)
class Labels:
    """A task with wrong labels."""

    task: Dial
    wrong: frozenset[str]
    """Texts of the questions whose labels are wrong."""
    accepts_wrong: float
    """Share of the untrained policy's wrong completions that the labels accept."""
    rejects_right: float
    """Share of its right completions that they reject."""


def labelled(config: Config, noise: float, kind: Kind) -> Labels:
    """The task of a training's seed with its first questions, of which a share has a wrong label."""
    task = Dial(config.seed)
    task.train = task.train[:QUESTIONS]
    said = answers(config, task, make_policy(config, task))
    dice = random.Random(f"wrong labels {config.seed}")
    chosen = {*dice.sample(range(QUESTIONS), round(noise * QUESTIONS))}
    right = task.train
    task.train = [
        Question(one.text, _wrong(kind, one.answer, counts, dice)) if place in chosen else one
        for place, (one, counts) in enumerate(zip(right, said, strict=True))
    ]
    sums = Counter[tuple[bool, bool]]()
    for one, label, counts in zip(right, task.train, said, strict=True):
        for answer, times in counts.items():
            sums[answer == one.answer, answer == label.answer] += times
    return Labels(
        task,
        frozenset(right[place].text for place in chosen),
        _share(sums[False, True], sums[False, False]),
        _share(sums[True, False], sums[True, True]),
    )


def answers(config: Config, task: Dial, policy: Policy) -> list[Counter[str]]:
    """How often the policy gives each answer to each training question."""
    torch.manual_seed(number_of(config.seed, "what it likes"))
    sampled = rollout(policy, task.train, SAMPLES, config.max_completion, config.temperature)
    said = [task.answer(text) for text in sampled.texts]
    return [Counter(said[start : start + SAMPLES]) for start in range(0, len(said), SAMPLES)]


def _wrong(kind: Kind, right: str, counts: Counter[str], dice: random.Random) -> str:
    digits = [str(digit) for digit in range(DIGITS) if str(digit) != right]
    drawn = dice.choice(digits)
    liked = max(digits, key=lambda digit: counts[digit])
    return liked if kind == "self-liked" and counts[liked] else drawn


def _share(some: int, others: int) -> float:
    return some / (some + others) if some else 0.0
