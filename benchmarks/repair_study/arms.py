"""The arms of the study: what the outcomes of a group are made of."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from typing import Any

from benchmarks.repair_study.labels import Labels
from examples.grpo.rewards import Judge, judged
from examples.grpo.rollout import Rollout
from examples.grpo.tasks.task import Task

ABOUT = {
    "clean": "the right labels",
    "none": "the labels as they are",
    "repair": "the service masks by its default gates",
    "olr": "the service replaces by OLR's rule",
    "ttrl": "the majority of the group in place of the label",
    "corrected": "outcomes corrected by the true rates of wrong verdicts",
    "placebo": "as many groups masked as `repair` masked in the same step, chosen at random",
}
"""Every arm, in words."""
REPAIRS: dict[str, dict[str, Any]] = {
    "repair": {"mode": "mask"},
    "olr": {"mode": "replace", "visits": 4, "share": 0.0, "margin": None, "trend": 0.05},
}
"""Arm -> the run's `repair`."""


def judge_of(arm: str, labels: Labels, group_size: int, masked: Sequence[int]) -> Judge | None:
    """What judges an arm's completions; None: the labels.

    Args:
        masked: groups that the placebo masks in each step.
    """
    task = labels.task
    if arm == "ttrl":
        return lambda rollout, step: majority(task, rollout, group_size)
    if arm == "corrected":
        return lambda rollout, step: corrected(judged(task, rollout), labels.accepts_wrong, labels.rejects_right)
    if arm == "placebo":
        return lambda rollout, step: at_random(judged(task, rollout), group_size, masked[step], step)
    return None


def majority(task: Task, rollout: Rollout, group_size: int) -> list[float]:
    """1 for the most frequent answer of a completion's group, 0 for others (TTRL, arXiv 2504.16084). Of answers that
    are equally frequent, the first counts."""
    said = [task.answer(text) for text in rollout.texts]
    outcomes: list[float] = []
    for start in range(0, len(said), group_size):
        group = said[start : start + group_size]
        ((most, _),) = Counter(group).most_common(1)
        outcomes += [float(answer == most) for answer in group]
    return outcomes


def corrected(outcomes: Sequence[float], accepts_wrong: float, rejects_right: float) -> list[float]:
    """The backward correction of arXiv 2510.00915: (outcome - rho0) / (1 - rho0 - rho1).

    Its mean over the verdicts is the right outcome. Advantages divided by their group's deviation cancel nearly all of
    it.

    Args:
        accepts_wrong: rho0, the share of wrong completions that are judged right.
        rejects_right: rho1, the share of right ones that are judged wrong.
    """
    return [(one - accepts_wrong) / (1 - accepts_wrong - rejects_right) for one in outcomes]


def at_random(outcomes: Sequence[float], group_size: int, groups: int, step: int) -> list[float]:
    """The outcomes, with 0 for all completions of some groups."""
    masked = {*random.Random(f"placebo {step}").sample(range(len(outcomes) // group_size), groups)}
    return [0.0 if place // group_size in masked else one for place, one in enumerate(outcomes)]
