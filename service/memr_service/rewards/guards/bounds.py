"""Guards that bound how much a bonus may weigh next to the outcome."""

from __future__ import annotations

import numpy as np

from memr_service.rewards.groups import extremes, means
from memr_service.state.window import spread_of


def cap(bonus: np.ndarray, outcome: np.ndarray, share: float) -> np.ndarray:
    """The weighted bonus (n,) cut to |bonus| <= share * |R|, so that it is 0 where R = 0 (CDE, arXiv 2509.09675).

    Args:
        outcome: R (n,).
    """
    most = share * np.abs(outcome)
    return np.asarray(np.clip(bonus, -most, most))


def spread_cap(bonus: np.ndarray, outcome: np.ndarray, group: np.ndarray, share: float) -> np.ndarray:
    """Shrink each group's bonuses towards their mean until max - min <= share * (max R - min R).

    The order of siblings and the group's mean stay. With share < 1 and outcomes of two values, no bonus reverses the
    verifier's verdict. Where all outcomes of a group are equal every sibling gets the mean, so that a trainer that
    compares siblings learns nothing from it. This is intended: the bonus would be the only signal in that group,
    normalised to full strength however small it is, and in a group that is all wrong it would pay junk most.

    Args:
        bonus: the weighted sum of the components (n,).
        outcome: R (n,).
        group: number of each item's group (n,).
    """
    mean = means(bonus, group)[group]
    spread, most = _spread(bonus, group), share * _spread(outcome, group)
    factor = np.where(spread > most, most / np.where(spread > 0, spread, 1.0), 1.0)
    return np.asarray(np.where(factor < 1.0, mean + (bonus - mean) * factor, bonus))


def anneal(step: int, start: int, end: int) -> float:
    """The factor of a bonus at a step: 1 until `start`, 0 from `end` on (start < end), linear in between."""
    return min(1.0, max(0.0, (end - step) / (end - start)))


def _spread(values: np.ndarray, group: np.ndarray) -> np.ndarray:
    """max - min of each item's group (n,), at most the largest float64."""
    return np.asarray(np.minimum(spread_of(*extremes(values, group)), np.finfo(np.float64).max)[group])
