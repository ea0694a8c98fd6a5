"""exploit where successes are of several kinds, or do not count alike: the distance to the nearest weighted centroid.

Beside `exploit.py`, and by the same rules. Symbols and shapes: a (g, d) completions of g items; b (m, d) what
they read, `count` (m,) how many completions each entry stands for and `fade` (m,) what its age leaves of each; an entry
weighs count * fade. `held` (g,) is the entry of which an item leaves out one completion, -1 for none: an entry is
passed over when nothing is left of it. Sums run over the entries one by one in their order, in float64.
"""

from __future__ import annotations

import numpy as np

ROUNDS = 4
"""How often entries are dealt to centroids anew; completions of one prompt rarely move after the third time."""
SAME = 1e-6
"""Entries whose cosine falls short of 1 by less are one: another cluster would hold nothing of its own."""
CHUNK = 128
"""Entries held in float64 at once: few enough for the processor's cache."""


def exploit_by_centroids(
    a: np.ndarray, b: np.ndarray, count: np.ndarray, fade: np.ndarray, held: np.ndarray, centroids: int = 1
) -> np.ndarray:
    """-min_j ||a - c_j||_2 with c_j the weighted mean of the j-th cluster of what is read.

    With one centroid, counts of 1 and nothing faded this is equation 4. Everything read is dealt to clusters once,
    for all items alike; each then leaves out its own completion where that lies, and passes over a cluster of which
    nothing is left.

    Args:
        centroids: how many clusters there may be.

    Returns:
        (g,) in [-2, 0]; NaN where nothing is left to compare with.
    """
    label = clusters(b, count * fade, centroids)
    nearest = np.full(len(a), np.inf)
    for cluster in range(int(label.max(initial=-1)) + 1):
        inside = np.flatnonzero(label == cluster)
        place = np.append(np.where(label == cluster, np.cumsum(label == cluster) - 1, -1), -1)[held]
        total, weight = _sums_without_one(b[inside], count[inside], fade[inside], place)
        difference = a.astype(np.float64) - total / np.where(weight > 0, weight, 1.0)[:, None]
        distance = np.sqrt((difference * difference).sum(axis=1))
        nearest = np.where(weight > 0, np.minimum(nearest, distance), nearest)
    return np.where(nearest < np.inf, -nearest, np.nan)


def nearest_entry(explored: np.ndarray) -> np.ndarray:
    """-||a - b|| to the most similar entry (n,), from `explored` = 1 - max cos(a, b), as `reward.explore` gives it.

    Unit vectors are sqrt(2 - 2 cos) apart.
    """
    return np.asarray(-np.sqrt(2.0 * np.maximum(explored, 0.0)))


def clusters(b: np.ndarray, weight: np.ndarray, most: int) -> np.ndarray:
    """Spherical k-means (Dhillon and Modha, 2001): the cluster of each entry (m,), numbered from 0.

    Seeded by farthest-first traversal (Gonzalez, 1985) from the entry that weighs most, the oldest of several, so that
    nothing is random; then ROUNDS times each entry goes to the centroid of largest cosine (ties: the earlier one), and
    centroids become their entries' weighted mean directions. A cluster may end up empty.

    Args:
        weight: > 0 (m,).
        most: at most so many clusters (>= 1).
    """
    if most == 1 or len(b) < 2:
        return np.zeros(len(b), np.int64)
    rows = b.astype(np.float64)
    rows /= np.sqrt((rows * rows).sum(axis=1))[:, None]
    seeds = [int(weight.argmax())]
    closest = _along(rows, rows[seeds[0]])
    while len(seeds) < most and closest.min() < 1.0 - SAME:
        seeds.append(int(closest.argmin()))
        closest = np.maximum(closest, _along(rows, rows[seeds[-1]]))
    centroids = rows[seeds]
    label = _nearest(rows, centroids)
    for _ in range(ROUNDS):
        for cluster in np.unique(label):
            inside = label == cluster
            centroids[cluster] = (weight[inside, None] * rows[inside]).sum(axis=0)
        label = _nearest(rows, centroids)
    return label


def _nearest(rows: np.ndarray, centroids: np.ndarray) -> np.ndarray:
    return np.asarray(np.stack([_along(rows, one) for one in centroids]).argmax(axis=0))


def _along(rows: np.ndarray, direction: np.ndarray) -> np.ndarray:
    """Cosine of each unit row (m, d) to a direction (d,), each by itself; 0 where there is no direction."""
    length = np.sqrt((direction * direction).sum())
    return np.asarray((rows * (direction / (length if length > 0 else 1.0))).sum(axis=1))


def _sums_without_one(
    b: np.ndarray, count: np.ndarray, fade: np.ndarray, held: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Weighted sum (g, d) and weight (g,) of some entries, one completion of entry `held` (g,) left out (-1: none).

    What nobody leaves out is added up once. The rest is added up from either end, so that nothing is ever subtracted:
    a young entry may outweigh the old ones by more than float64 has digits.
    """
    own, place = np.unique(held[held >= 0], return_inverse=True)
    rest = np.ones(len(b), bool)
    rest[own] = False
    total, weight = np.zeros((len(own) + 1, b.shape[1])), np.zeros(len(own) + 1)
    total += _weighted_sum(b[rest], count[rest] * fade[rest])
    weight += (count[rest] * fade[rest]).sum()
    rows, w = b[own].astype(np.float64), count[own] * fade[own]
    left = (count[own] - 1) * fade[own]
    before, after = _running(w[:, None] * rows), _running((w[:, None] * rows)[::-1])[::-1]
    total[:-1] += before[:-1] + after[1:] + left[:, None] * rows
    weight[:-1] += _running(w)[:-1] + _running(w[::-1])[::-1][1:] + left
    total[-1] += before[-1]
    weight[-1] += _running(w)[-1]
    which = np.full(len(held), len(own))
    which[held >= 0] = place
    return total[which], weight[which]


def _running(values: np.ndarray) -> np.ndarray:
    """Sums of the first 0, 1, ..., m values (m + 1, ...)."""
    return np.concatenate([np.zeros((1, *values.shape[1:])), np.cumsum(values, axis=0)])


def _weighted_sum(b: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Sum (d,) of the entries times their weights."""
    total = np.zeros(b.shape[1])
    for start in range(0, len(b), CHUNK):
        part = slice(start, start + CHUNK)
        total = total + (weight[part, None] * b[part].astype(np.float64)).sum(axis=0)
    return total
