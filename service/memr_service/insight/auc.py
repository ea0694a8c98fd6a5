"""How well a quantity ranks right above wrong completions within groups, and how two quantities correlate."""

from __future__ import annotations

import numpy as np


def auc_by_group(values: np.ndarray, right: np.ndarray, group: np.ndarray) -> np.ndarray:
    """P(value of a right item > value of a wrong one), ties count half, of each group that has both (Mann-Whitney).

    AUC = (sum of the right items' ranks - m (m + 1) / 2) / (m k) for m right and k wrong items. Ties share their mean
    rank.

    Args:
        values: (n,); an item with NaN does not count.
        right: (n,) bool.
        group: number of each item's group (n,).

    >>> auc_by_group(np.array([0.2, 0.9, 0.2]), np.array([False, True, True]), np.zeros(3, int))
    array([0.75])
    """
    given = ~np.isnan(values)
    order = np.lexsort((values[given], group[given]))
    values, right, group = values[given][order], right[given][order], group[given][order]
    if not len(values):
        return np.empty(0)
    position = np.arange(len(values))
    begins = np.r_[True, group[1:] != group[:-1]]
    tie = np.cumsum(begins | np.r_[True, values[1:] != values[:-1]]) - 1
    middle = np.bincount(tie, position) / np.bincount(tie)  # of each row of equal values
    number = np.cumsum(begins) - 1
    rank = middle[tie] - position[begins][number] + 1
    m, ranks, of = np.bincount(number, right), np.bincount(number, rank * right), np.bincount(number)
    both = (m > 0) & (m < of)
    return np.asarray((ranks - m * (m + 1) / 2)[both] / (m * (of - m))[both])


def correlation(x: np.ndarray, y: np.ndarray) -> float | None:
    """Pearson's correlation of two columns (n,); None if one of them does not vary."""
    if len(x) < 2 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return None
    p, q = x - x.mean(), y - y.mean()
    return float(np.clip((p @ q) / np.sqrt((p @ p) * (q @ q)), -1, 1))
