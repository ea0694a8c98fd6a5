"""How unlike siblings are: the completions of one group."""

from __future__ import annotations

import numpy as np


def diversity(completions: np.ndarray, group: np.ndarray) -> np.ndarray:
    """1 - the mean cosine of two different siblings, 1 - (|sum a|^2 - g) / (g (g - 1)), of each group with g > 1.

    Args:
        completions: a (n, d), unit rows.
        group: number of each one's group (n,), from 0.

    >>> diversity(np.eye(2)[[0, 1, 0, 0]], np.array([0, 0, 1, 1])).tolist()
    [1.0, 0.0]
    """
    count = np.bincount(group)
    begins, order = np.cumsum(count) - count, np.argsort(group, kind="stable")
    found = np.full(len(count), np.nan)
    for g in set(count.tolist()) - {0, 1}:
        members = order[begins[count == g][:, None] + np.arange(g)]  # (groups of this size, g)
        total = completions[members].sum(axis=1)
        found[count == g] = 1 - ((total * total).sum(axis=1) - g) / (g * (g - 1))
    return found[count > 1]
