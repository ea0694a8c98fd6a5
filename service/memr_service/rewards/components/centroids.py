"""exploit with several centroids or weighted entries: the distance to the nearest weighted centroid.

Symbols and shapes: a (g, d) the completions of g items; b (m, d) the entries they read; `count` (m,) how many
completions each entry stands for; `fade` (m,) the factor by which age reduces each of them, so that an entry weighs
count * fade; `held` (g,) the entry of which an item leaves out one completion, -1 for none. If nothing is left of an
entry it is skipped. Sums are in float64 and add the entries in their order.
"""

from __future__ import annotations

import numpy as np

ROUNDS = 4
"""Rounds of k-means; completions of one prompt rarely change their cluster after the third."""
SAME = 1e-6
"""Entries with a cosine above 1 - SAME are the same: a second cluster for them would be empty."""
MARGIN = 1e-11
"""An upper bound of twice the error of a cosine in a matrix product of float64."""
CHUNK = 128
"""Entries that are held in float64 at once, few enough for the processor's cache."""


def exploit_by_centroids(
    a: np.ndarray, b: np.ndarray, count: np.ndarray, fade: np.ndarray, held: np.ndarray, centroids: int = 1
) -> np.ndarray:
    """-min_j ||a - c_j||_2: minus the distance to the nearest centroid, the weighted mean of cluster j of what is read.

    With one centroid, counts of 1 and no fading this is equation 4. The entries are clustered once for all items; each
    item then leaves out its own completion from the cluster that has it, and skips a cluster of which nothing is left.
    Our own: one centroid of successes of several kinds lies between them and is close to none.

    Args:
        a: completions (g, d).
        b: entries read (m, d).
        count: completions that each entry stands for (m,).
        fade: factor by which age reduces each of them (m,).
        held: entry of which an item leaves out one completion (g,), -1 for none.
        centroids: the most clusters there may be.

    Returns:
        (g,) in [-2, 0]; NaN where there is nothing to compare with.
    """
    label = clusters(b, count * fade, centroids)
    nearest = np.full(len(a), np.inf)
    for cluster in range(int(label.max(initial=-1)) + 1):
        inside = np.flatnonzero(label == cluster)
        position = np.append(np.where(label == cluster, np.cumsum(label == cluster) - 1, -1), -1)[held]
        total, weight = _sums_without_one(b[inside], count[inside], fade[inside], position)
        difference = a.astype(np.float64) - total / np.where(weight > 0, weight, 1.0)[:, None]
        distance = np.sqrt((difference * difference).sum(axis=1))
        nearest = np.where(weight > 0, np.minimum(nearest, distance), nearest)
    return np.where(nearest < np.inf, -nearest, np.nan)


def nearest_entry(explored: np.ndarray) -> np.ndarray:
    """-sqrt(2 - 2 max cos(a, b)): minus the distance to the nearest entry (n,), for unit vectors.

    Args:
        explored: 1 - max cos(a, b) (n,), as `explore` gives it; NaN for none.
    """
    return np.asarray(-np.sqrt(2.0 * np.maximum(explored, 0.0)))


def clusters(b: np.ndarray, weight: np.ndarray, most: int) -> np.ndarray:
    """The cluster of each entry (m,), numbered from 0, by spherical k-means (Dhillon and Modha, 2001).

    The seeds come from farthest-first traversal (Gonzalez, 1985), which begins at the entry with the largest weight
    (ties: the oldest), so nothing is random. Then, `ROUNDS` times, each entry joins the centroid that has the largest
    cosine to it (ties: the earlier one) and each centroid becomes the weighted mean direction of its entries. A cluster
    may end up empty.

    Args:
        b: entries (m, d).
        weight: their weights (m,), > 0.
        most: the most clusters there may be (>= 1).
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
    """The centroid (m,) with the largest cosine to each unit row (m, d); of equal ones the first.

    A matrix product finds it. Where others come within `MARGIN` of it, their exact cosines (`_along`) decide.
    """
    lengths = np.sqrt((centroids * centroids).sum(axis=1))
    cosines = rows @ (centroids / np.where(lengths > 0, lengths, 1.0)[:, None]).T
    label = cosines.argmax(axis=1)
    near = cosines >= cosines.max(axis=1)[:, None] - MARGIN
    unclear = np.flatnonzero(near.sum(axis=1) > 1)
    if len(unclear):
        exact = np.full((len(unclear), len(centroids)), -np.inf)
        for number in np.flatnonzero(near[unclear].any(axis=0)):
            among = near[unclear, number]
            exact[among, number] = _along(rows[unclear[among]], centroids[number])
        label[unclear] = exact.argmax(axis=1)
    return np.asarray(label)


def _along(rows: np.ndarray, direction: np.ndarray) -> np.ndarray:
    """Cosine (m,) of each unit row (m, d) to a direction (d,), each computed by itself; 0 if the direction is 0."""
    length = np.sqrt((direction * direction).sum())
    return np.asarray((rows * (direction / (length if length > 0 else 1.0))).sum(axis=1))


def _sums_without_one(
    b: np.ndarray, count: np.ndarray, fade: np.ndarray, held: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Weighted sum (g, d) and weight (g,) of some entries, without one completion of entry `held` (g,) (-1: none).

    Entries that no item leaves out are summed once. The others are summed from both ends, so that nothing is ever
    subtracted: a young entry may outweigh the old ones by more than float64 has digits.
    """
    own, number = np.unique(held[held >= 0], return_inverse=True)
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
    which[held >= 0] = number
    return total[which], weight[which]


def _running(values: np.ndarray) -> np.ndarray:
    """Sums of the first 0, 1, ..., m values, (m + 1, ...)."""
    return np.concatenate([np.zeros((1, *values.shape[1:])), np.cumsum(values, axis=0)])


def _weighted_sum(b: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """sum_i weight_i b_i (d,)."""
    total = np.zeros(b.shape[1])
    for start in range(0, len(b), CHUNK):
        part = slice(start, start + CHUNK)
        total = total + (weight[part, None] * b[part].astype(np.float64)).sum(axis=0)
    return total
