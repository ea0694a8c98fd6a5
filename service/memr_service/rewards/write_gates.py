"""Which completions of a batch may be remembered: the write gates of a run's memory (on top of law L3)."""

from __future__ import annotations

from collections import Counter

import numpy as np
from memr_client.schemas import ComponentGuards, RunConfig, WriteGates

from memr_service.rewards import guards
from memr_service.rewards.repair import MASKED
from memr_service.state.record import Batch

LONE = "lone_answer"
"""The reason that `agreement` reports; every other gate reports that of the guard with the same name."""

OPEN = WriteGates()
"""No gates."""

Blocked = dict[str, np.ndarray]
"""Reason -> the items that it blocks (n,) bool."""


def blocked(config: RunConfig, batch: Batch, right: np.ndarray, wrong: np.ndarray) -> Blocked:
    """The items that the gates, or a mask, keep out of a memory that the outcome would let them in; {} without both.

    A blocked item is scored like one whose outcome lies between the thresholds: it has no entry of its own, so the
    entry of the next item of its prompt is held out for it (L9).

    Args:
        right: the items that the outcome sends to the success memory (n,) bool.
        wrong: the items that it sends to the failure memory (n,) bool.
    """
    gates = config.memory.gates
    found = {} if batch.masked is None else {MASKED: batch.masked & (right | wrong)}
    if gates == OPEN:
        return found
    limits = ComponentGuards(**gates.model_dump(exclude={"agreement"}))
    found |= {reason: mask & (right | wrong) for reason, mask in guards.rejections(config, limits, batch, None)}
    if gates.drop_truncated and batch.truncated is not None:
        found[guards.REASONS["truncated"]] &= right
    if gates.agreement:
        found[LONE] = right & ~agrees(batch.group, batch.answers)
    return found


def agrees(group: np.ndarray, answers: list[str | None] | None) -> np.ndarray:
    """Which items gave an answer that another item of their group (n,) gave too (n,) bool.

    The idea of EMPO (arXiv 2504.05812) and EVOL-RL (arXiv 2509.15194), where agreement replaces the verifier. Here it
    only keeps lucky guesses out of the memory.
    """
    pairs = list(zip(group.tolist(), answers or [None] * len(group), strict=True))
    times = Counter(pairs)
    return np.array([answer is not None and times[number, answer] > 1 for number, answer in pairs], bool)


def report(rejected: list[list[str]], by_gate: Blocked) -> list[list[str]]:
    """The guards' rejections (`Effects.rejected`), followed for each item by "memory:reason" of each gate."""
    if not any(mask.any() for mask in by_gate.values()):
        return rejected
    n = len(next(iter(by_gate.values())))
    reasons = [list(one) for one in rejected] or [[] for _ in range(n)]
    for reason, mask in by_gate.items():
        for item in np.flatnonzero(mask).tolist():
            reasons[item].append(f"memory:{reason}")
    return reasons
