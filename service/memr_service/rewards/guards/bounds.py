"""How much a bonus may weigh beside the outcome it accompanies."""

from __future__ import annotations

import numpy as np


def cap(bonus: np.ndarray, outcome: np.ndarray, share: float) -> np.ndarray:
    """The bonus (n,), weighted, cut to |bonus| <= share * |outcome| (CDE, arXiv 2509.09675): none where R = 0."""
    most = share * np.abs(outcome)
    return np.asarray(np.clip(bonus, -most, most))


def spread_cap(bonus: np.ndarray, outcome: np.ndarray, group: np.ndarray, share: float) -> np.ndarray:
    """Shrink each group's bonuses towards their mean until max - min <= share * (max - min of its outcomes).

    The order among siblings and the group's mean stay, so with share < 1 and outcomes of two values no bonus turns the
    verifier's verdict around. Where all outcomes are equal nothing is left: every sibling gets the mean, and a trainer
    that compares siblings learns nothing from them. That is meant. In such a group the bonus would be the only signal,
    normalised to full strength however small, and in an all-wrong one it would pay junk most.

    Args:
        bonus: the weighted sum of components (n,).
        outcome: R (n,).
        group: number of each item's group (n,).
    """
    if not len(group):
        return np.zeros(0)
    mean = (np.bincount(group, bonus) / np.maximum(np.bincount(group), 1))[group]
    spread, most = _spread(bonus, group), share * _spread(outcome, group)
    factor = np.where(spread > most, most / np.where(spread > 0, spread, 1.0), 1.0)
    return np.asarray(np.where(factor < 1.0, mean + (bonus - mean) * factor, bonus))


def anneal(step: int, start: int, end: int) -> float:
    """The factor of a bonus at a step: 1 up to `start`, 0 from `end` on (start < end), a straight line between."""
    return min(1.0, max(0.0, (end - step) / (end - start)))


def _spread(values: np.ndarray, group: np.ndarray) -> np.ndarray:
    """max - min of each item's group (n,)."""
    lowest, highest = np.full(group.max() + 1, np.inf), np.full(group.max() + 1, -np.inf)
    np.minimum.at(lowest, group, values)
    np.maximum.at(highest, group, values)
    return np.asarray(highest[group] - lowest[group])
