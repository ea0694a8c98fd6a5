"""value: the outcome that the nearest completions of the run have had."""

from __future__ import annotations

import math

import numpy as np


def value(similarity: np.ndarray, outcome: np.ndarray, *, temperature: float = 0.05) -> np.ndarray:
    """sum_i kappa_i R_i with kappa = softmax(cos(a, a_i) / temperature) over the j nearest stored completions.

    Neural Episodic Control (Pritzel et al., 2017, arXiv 1703.01988) with a softmax of cosines as its kernel. A place of
    similarity -inf is empty, whatever its outcome says; empty places and their number do not change a value's bits.

    Args:
        similarity: cosines to the neighbours, nearest first (n, j).
        outcome: their outcomes (n, j).
        temperature: > 0; a neighbour that is this much farther counts a third.

    Returns:
        (n,) between the smallest and the largest of its outcomes; NaN where there is no neighbour.
    """
    there = similarity > -np.inf
    estimate = np.full(len(similarity), np.nan)
    for item in np.flatnonzero(there.any(axis=-1)).tolist():
        cosines = similarity[item, there[item]].tolist()
        nearest = max(cosines)
        kernel = [math.exp((cosine - nearest) / temperature) for cosine in cosines]
        outcomes = outcome[item, there[item]].tolist()
        weighted = math.fsum(weight * r for weight, r in zip(kernel, outcomes, strict=True))
        estimate[item] = weighted / math.fsum(kernel)
    return estimate
