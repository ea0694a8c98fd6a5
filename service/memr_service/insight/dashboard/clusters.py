"""Clusters of a map's completions, named by the words that are commoner in them than elsewhere."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np
from scipy.cluster.vq import kmeans, vq

MOST = 8
LEAST = 8
"""Points of a cluster on average, at least."""
TRIALS = 2
SEED = 0
WORDS = 3
"""Words in a name, at most."""

_WORD = re.compile(r"[^\W\d_]{3,}")


def clusters(vectors: np.ndarray) -> np.ndarray:
    """The number of each vector's cluster (m,), by k-means; 0 is the largest. The same vectors give the same clusters.

    Args:
        vectors: (m, d) with m > 0.
    """
    count = max(1, min(MOST, len(vectors) // LEAST))
    rows = vectors.astype(np.float64)
    centres, _ = kmeans(rows, rows[:1] if count == 1 else count, iter=TRIALS, rng=SEED)
    found, _ = vq(rows, centres)
    _, numbers, sizes = np.unique(found, return_inverse=True, return_counts=True)
    rank = np.empty(len(sizes), np.int64)
    rank[np.argsort(-sizes, kind="stable")] = np.arange(len(sizes))
    return rank[numbers]


def names(numbers: np.ndarray, texts: Sequence[str | None]) -> list[list[str]]:
    """For each cluster the words whose share of its texts lies farthest above their share p of all texts, times 1 - p:
    words of most texts name nothing.

    Args:
        numbers: the cluster of each text (m,), from 0 on without gaps. texts: None for one that is not kept.
    """
    words = [{*_WORD.findall(text.casefold())} if text else set() for text in texts]
    everywhere = Counter(word for one in words for word in one)
    kept = sum(text is not None for text in texts)
    found = []
    for number in range(int(numbers.max(initial=-1)) + 1):
        places = np.flatnonzero(numbers == number).tolist()
        inside = [words[place] for place in places if texts[place] is not None]
        lift = {
            word: (count / len(inside) - everywhere[word] / kept) * (1 - everywhere[word] / kept)
            for word, count in Counter(word for one in inside for word in one).items()
        }
        ordered = sorted(lift, key=lambda word: (-lift[word], word))
        found.append([word for word in ordered[:WORDS] if lift[word] > 0])
    return found
