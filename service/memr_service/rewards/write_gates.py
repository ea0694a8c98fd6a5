"""What of a batch may be remembered: the write gates of a run's memory (law L3 says on which side)."""

from __future__ import annotations

from collections import Counter

import numpy as np
from memr_client.schemas import ComponentGuards, RunConfig, WriteGates

from memr_service.rewards import guards, shaping
from memr_service.state.record import Batch

LONE = "lone_answer"
"""The reason of `agreement`; the other gates have those of the guards of their names."""

OPEN = WriteGates()
"""No gates."""

Shut = dict[str, np.ndarray]
"""Reason -> items (n,) bool that it keeps out."""


def shut(config: RunConfig, batch: Batch, right: np.ndarray, wrong: np.ndarray) -> Shut:
    """What keeps items out that the outcome alone would let in; empty where the run has no gates.

    A gated item is scored like one whose outcome lies between the thresholds: having no entry of its own, it holds out
    that of the next item of its prompt (law L9).

    Args:
        right: which items the outcome sends to the success memory (n,). wrong: which to the failure memory.
    """
    on = config.memory.gates
    if on == OPEN:
        return {}
    limits = ComponentGuards(**on.model_dump(exclude={"agreement"}))
    found = {reason: mask & (right | wrong) for reason, mask in shaping.rejections(config, limits, batch, None)}
    if on.drop_truncated and batch.truncated is not None:
        found[guards.REASONS["truncated"]] &= right
    if on.agreement:
        found[LONE] = right & ~agrees(batch.group, batch.answers)
    return found


def agrees(group: np.ndarray, answers: list[str | None] | None) -> np.ndarray:
    """Which items gave an answer that somebody else in their group (n,) gave as well (n,).

    The idea of EMPO (arXiv 2504.05812) and EVOL-RL (arXiv 2509.15194), where agreement stands in for the verifier; here
    it only bars the lucky guess from the memory.
    """
    pairs = list(zip(group.tolist(), answers or [None] * len(group), strict=True))
    times = Counter(pairs)
    return np.array([answer is not None and times[number, answer] > 1 for number, answer in pairs], bool)


def report(rejected: list[list[str]], shut_out: Shut) -> list[list[str]]:
    """What guards rejected (`Effects.rejected`), and after it "memory:reason" of what the gates kept out."""
    if not any(mask.any() for mask in shut_out.values()):
        return rejected
    n = len(next(iter(shut_out.values())))
    reasons = [list(one) for one in rejected] or [[] for _ in range(n)]
    for reason, mask in shut_out.items():
        for item in np.flatnonzero(mask).tolist():
            reasons[item].append(f"memory:{reason}")
    return reasons
