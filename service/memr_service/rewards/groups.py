"""Statistics of groups: the completions of one prompt in one step.

`group` (n,) holds the number of each item's group, from 0. A number that no item has makes an empty group.
"""

from __future__ import annotations

import numpy as np


def means(values: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Mean of the values (n,) of each group (g,); 0 for an empty group."""
    return np.asarray(np.bincount(group, values) / np.maximum(np.bincount(group), 1))


def center(values: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Values (n,) minus their group's mean (n,): `center: "group"` of L6, and what advantages are made of.

    >>> center(np.array([1.0, 3.0, 5.0]), np.array([0, 0, 1])).tolist()
    [-1.0, 1.0, 0.0]
    """
    return np.asarray(values - means(values, group)[group])


def extremes(values: np.ndarray, group: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Smallest and largest value of each group, (g,) and (g,); inf and -inf for an empty group.

    >>> [one.tolist() for one in extremes(np.array([1.0, 3.0, 5.0]), np.array([0, 0, 1]))]
    [[1.0, 5.0], [3.0, 5.0]]
    """
    count = int(group.max(initial=-1)) + 1
    lowest, highest = np.full(count, np.inf), np.full(count, -np.inf)
    np.minimum.at(lowest, group, values)
    np.maximum.at(highest, group, values)
    return lowest, highest


def diversity(completions: np.ndarray, group: np.ndarray) -> np.ndarray:
    """1 - the mean cosine of two different siblings, 1 - (|sum a|^2 - g) / (g (g - 1)), of each group with g > 1.

    Args:
        completions: a (n, d), unit rows.

    >>> diversity(np.eye(2)[[0, 1, 0, 0]], np.array([0, 0, 1, 1])).tolist()
    [1.0, 0.0]
    """
    count = np.bincount(group)
    begins, g = (np.cumsum(count) - count)[count > 0], count[count > 0]
    if not len(g):
        return np.empty(0)
    together = completions if (group[1:] >= group[:-1]).all() else completions[np.argsort(group, kind="stable")]
    total = np.add.reduceat(together, begins, axis=0)
    squares, g = (total * total).sum(axis=1)[g > 1], g[g > 1]
    return np.asarray(1 - (squares - g) / (g * (g - 1)))
