"""error_cluster: to repeat a known mistake costs, the more the more often it has been made."""

from __future__ import annotations

import math

import numpy as np

from memr_service.memory.cosine import rowwise_cosines

MARGIN = 1e-3
"""More than a float32 product of stored vectors can differ from their cosine, vectors rounded to float16 included."""
CHUNK = 1024
"""Items compared at once, and PAIRS of vectors in float64: bounds the memory that takes."""
PAIRS = 8192


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
    """-min(alpha * log(|C| + 1), beta) with C = {b in failures of the prompt: cos(a, b) >= similarity}; 0 if right.

    The penalty of MEDS (arXiv 2604.11297; alpha and beta as in its code) on other features: MEDS clusters the logits of
    the policy's last layers with HDBSCAN and takes the cluster of the nearest stored errors. Here a sentence encoder
    stands in for the logits, and the ball of cosine `similarity` around the completion for the cluster: nothing has to
    be clustered again as the memory grows, and no noise points are counted as one big cluster.

    Args:
        a: completions (n, d).
        failures: the failures stored under their prompt (m, d).
        held: for each item the row of `failures` of which it must not see one completion (n,), -1 for none.
        wrong: which items failed (n,) bool.
        count: how many completions each failure stands for (m,), and `fade` (m,) how much each of those counts; None
            where all count once. |C| is then the sum of count * fade.

    Returns:
        (n,) in [-beta, 0]; 0 for right items, and for a mistake made for the first time.
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
    """|C| of each item (n,): a float32 matrix product decides the clear cases, float64 those within MARGIN."""
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
    """Which of b (m, d) each item is at least so similar to (n, m) bool."""
    cosines = a @ b.T
    same = np.asarray(cosines > similarity + MARGIN)
    item, entry = np.nonzero(np.abs(cosines - similarity) <= MARGIN)
    for start in range(0, len(item), PAIRS):
        part = slice(start, start + PAIRS)
        same[item[part], entry[part]] = rowwise_cosines(a[item[part]], b[entry[part]]) >= similarity
    return same
