"""Guards that bound how much a bonus may weigh next to the outcome."""

from __future__ import annotations

import numpy as np

from memr_service.rewards.groups import extremes, means
from memr_service.state.window import spread_of

EQUAL = 1e-6
"""Outcomes that differ by less are equal."""


def cap(bonus: np.ndarray, outcome: np.ndarray, share: float) -> np.ndarray:
    """The weighted bonus (n,) cut to |bonus| <= share * |R|, so that it is 0 where R = 0 (CDE, arXiv 2509.09675).

    Args:
        outcome: R (n,).
    """
    most = share * np.abs(outcome)
    return np.asarray(np.clip(bonus, -most, most))


def spread_cap(
    bonus: np.ndarray, outcome: np.ndarray, group: np.ndarray, share: float, threshold: float | None = None
) -> np.ndarray:
    """Shrink each group's bonuses towards their mean until max - min <= share * (max R - min R).

    With a threshold, max - min <= share * (min R above it - max R at or below it) in groups with both. The order of
    siblings and the group's mean stay. With share < 1, and a threshold or outcomes of two values, no bonus reverses the
    verifier's verdict. Where all outcomes of a group are equal every sibling gets the mean, so that a trainer that
    compares siblings learns nothing from it. This is intended: the bonus would be the only signal in that group,
    normalised to full strength however small it is, and in a group that is all wrong it would pay junk most.

    Args:
        bonus: the weighted sum of the components (n,).
        outcome: R (n,).
        group: number of each item's group (n,).
        threshold: outcomes above it are right (`success_threshold`); None: all outcomes of a group count alike.
    """
    mean = means(bonus, group)[group]
    over, most = spread(bonus, group), share * outcome_spread(outcome, group, threshold)
    factor = np.where(over > most, most / np.where(over > 0, over, 1.0), 1.0)
    return np.asarray(np.where(factor < 1.0, mean + (bonus - mean) * factor, bonus))


def equal_outcomes(outcome: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Items of groups whose outcomes are all equal, max R - min R < 1e-6 (n,) bool.

    Args:
        outcome: R (n,).
        group: number of each item's group (n,).
    """
    return np.asarray(spread(outcome, group) < EQUAL)


def spread_limit(bonus: np.ndarray, group: np.ndarray, most: float, late: np.ndarray | None = None) -> np.ndarray:
    """Scale each group's bonuses towards 0 until max - min <= most: bonus * min(1, most / (max - min)).

    The order of siblings stays. With most = 0 the bonuses of groups with siblings are 0. The siblings of late items are
    not here, so they are held as if one of them had 0.

    Args:
        bonus: the weighted sum of the components (n,).
        group: number of each item's group (n,).
        most: largest spread.
        late: items that came after their group had been answered (n,) bool; None: none did.
    """
    if most == 0:
        alone = np.bincount(group)[group] == 1
        return np.where(alone if late is None else alone & ~late, bonus, 0.0)
    over = spread(bonus, group)
    if late is not None:
        over = np.where(late, np.maximum(over, np.abs(bonus)), over)
    return np.asarray(bonus * np.where(over > most, most / np.where(over > 0, over, 1.0), 1.0))


def anneal(step: int, start: int, end: int) -> float:
    """The factor of a bonus at a step: 1 until `start`, 0 from `end` on (start < end), linear in between."""
    return min(1.0, max(0.0, (end - step) / (end - start)))


def spread(values: np.ndarray, group: np.ndarray) -> np.ndarray:
    """max - min of each item's group (n,), at most the largest float64."""
    return np.asarray(np.minimum(spread_of(*extremes(values, group)), np.finfo(np.float64).max)[group])


def outcome_spread(outcome: np.ndarray, group: np.ndarray, threshold: float | None = None) -> np.ndarray:
    """max R - min R of each item's group (n,); with a threshold min R above it - max R at or below it, where both are.

    `spread_cap` allows bonuses a share of it.
    """
    if threshold is None:
        return spread(outcome, group)
    right = outcome > threshold
    lowest, _ = extremes(np.where(right, outcome, np.inf), group)
    _, highest = extremes(np.where(right, -np.inf, outcome), group)
    mixed = np.isfinite(lowest) & np.isfinite(highest)
    gap = spread_of(np.where(mixed, highest, 0.0), np.where(mixed, lowest, 0.0))
    return np.where(mixed[group], np.minimum(gap, np.finfo(np.float64).max)[group], spread(outcome, group))
