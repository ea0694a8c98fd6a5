"""error_cluster: to repeat a known mistake costs, the more the more often it has been made."""

from __future__ import annotations

import math

import numpy as np

from memr_service.components.cosine import paired

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
        held: for each item the row of `failures` it must not see (n,), -1 for none.
        wrong: which items failed (n,) bool.

    Returns:
        (n,) in [-beta, 0]; 0 for right items, and for a mistake made for the first time.
    """
    penalty = np.zeros(len(a))
    sizes = cluster_sizes(a[wrong], failures, held[wrong], similarity)
    penalty[wrong] = [0.0 - min(alpha * math.log(size + 1), beta) for size in sizes.tolist()]
    return penalty


def cluster_sizes(a: np.ndarray, failures: np.ndarray, held: np.ndarray, similarity: float) -> np.ndarray:
    """|C| of each item (n,): a float32 matrix product decides the clear cases, float64 those within MARGIN."""
    sizes = [
        _sizes(a[start : start + CHUNK], failures, held[start : start + CHUNK], similarity)
        for start in range(0, len(a), CHUNK)
    ]
    return np.concatenate(sizes) if sizes else np.empty(0, np.int64)


def _sizes(a: np.ndarray, b: np.ndarray, held: np.ndarray, similarity: float) -> np.ndarray:
    if not len(b):
        return np.zeros(len(a), np.int64)
    cosines = a @ b.T
    hidden = held >= 0
    cosines[hidden, held[hidden]] = -np.inf
    sizes = (cosines > similarity + MARGIN).sum(axis=1)
    item, entry = np.nonzero(np.abs(cosines - similarity) <= MARGIN)
    for start in range(0, len(item), PAIRS):
        part = slice(start, start + PAIRS)
        near = paired(a[item[part]], b[entry[part]]) >= similarity
        sizes = sizes + np.bincount(item[part][near], minlength=len(a))
    return np.asarray(sizes)
