"""error_cluster: penalises repeating a known mistake; the penalty grows with how often it was made."""

from __future__ import annotations

import math

import numpy as np

from memr_service.memory.cosine import rowwise_cosines

MARGIN = 1e-3
"""Upper bound of the error of a cosine in a float32 product, also of vectors that were rounded to float16."""
CHUNK = 1024
"""Items that are compared at once, which bounds the memory needed."""
PAIRS = 8192
"""Pairs of vectors that are compared in float64 at once."""


def error_cluster(
    a: np.ndarray,
    failures: np.ndarray,
    held: np.ndarray,
    wrong: np.ndarray,
    count: np.ndarray | None = None,
    fade: np.ndarray | None = None,
    *,
    alpha: float = 0.1,
    beta: float = 0.2,
    similarity: float = 0.9,
) -> np.ndarray:
    """-min(alpha * log(|C| + 1), beta): the penalty of a wrong completion for repeating a mistake; 0 for a right one.

    C = {b in the failures stored under the prompt: cos(a, b) >= similarity} are the failures that made the mistake
    before. The penalty is that of MEDS (arXiv 2604.11297; alpha and beta as in its code) on other features. MEDS
    clusters the logits of the policy's last layers with HDBSCAN and takes the cluster of the nearest stored errors.
    Here a sentence encoder replaces the logits, and the ball of cosine `similarity` around the completion replaces the
    cluster: nothing has to be clustered again as the memory grows, and noise points are not counted as one big cluster.

    Args:
        a: completions of one prompt (n, d).
        failures: the failures stored under that prompt (m, d).
        held: for each item the row of `failures` of which it must not see one completion (n,), -1 for none.
        wrong: which items failed (n,) bool.
        count: how many completions each failure stands for (m,); None if one.
        fade: the factor by which age reduces each of them (m,); None if 1. |C| is the sum of count * fade.
        alpha: scale of the penalty.
        beta: the largest penalty.
        similarity: cosine from which a failure is the same mistake.

    Returns:
        (n,) in [-beta, 0]; 0 for right items and for a mistake that is made for the first time.
    """
    penalty = np.zeros(len(a))
    sizes = cluster_sizes(a[wrong], failures, held[wrong], similarity, count, fade)
    penalty[wrong] = [0.0 - min(alpha * math.log(size + 1), beta) for size in sizes.tolist()]
    return penalty


def cluster_sizes(
    a: np.ndarray,
    failures: np.ndarray,
    held: np.ndarray,
    similarity: float,
    count: np.ndarray | None = None,
    fade: np.ndarray | None = None,
) -> np.ndarray:
    """|C| of each item (n,), with the arguments of `error_cluster`.

    A float32 matrix product decides the clear cases, exact cosines in float64 those within MARGIN of `similarity`.
    """
    each = np.ones(len(failures)) if fade is None else fade
    weight = each if count is None else count * each
    sizes = []
    for start in range(0, len(a), CHUNK):
        part = slice(start, start + CHUNK)
        same = _same(a[part], failures, similarity)
        size = (same * weight).sum(axis=1)
        holds = np.flatnonzero(held[part] >= 0)
        own = held[part][holds]
        size[holds] -= np.where(same[holds, own], each[own], 0.0)
        sizes.append(size)
    return np.concatenate(sizes) if sizes else np.empty(0)


def _same(a: np.ndarray, b: np.ndarray, similarity: float) -> np.ndarray:
    """Whether cos(a, b) >= similarity, for each a (n, d) and b (m, d) (n, m) bool."""
    cosines = a @ b.T
    same = np.asarray(cosines > similarity + MARGIN)
    item, entry = np.nonzero(np.abs(cosines - similarity) <= MARGIN)
    for start in range(0, len(item), PAIRS):
        part = slice(start, start + PAIRS)
        same[item[part], entry[part]] = rowwise_cosines(a[item[part]], b[entry[part]]) >= similarity
    return same
