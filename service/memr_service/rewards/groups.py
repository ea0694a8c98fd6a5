"""Statistics of groups: the completions of one prompt in one step."""

from __future__ import annotations

import numpy as np


def center(scaled: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Scaled values minus their group's mean; `group` (n,) holds group numbers 0, 1, ... (L6, `center: "group"`)."""
    if not len(scaled):
        return scaled
    means = np.bincount(group, scaled) / np.maximum(np.bincount(group), 1)
    return np.asarray(scaled - means[group])


def diversity(completions: np.ndarray, group: np.ndarray) -> np.ndarray:
    """1 - the mean cosine of two different siblings, 1 - (|sum a|^2 - g) / (g (g - 1)), of each group with g > 1.

    Args:
        completions: a (n, d), unit rows.
        group: number of each one's group (n,), from 0.

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
