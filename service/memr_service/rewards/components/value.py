"""value: the outcome of the run's most similar completions."""

from __future__ import annotations

import math

import numpy as np

HUGE = 2.0**900
"""Sums of larger outcomes may overflow."""


def value(similarity: np.ndarray, outcome: np.ndarray, *, temperature: float = 0.05) -> np.ndarray:
    """sum_i kappa_i R_i: the outcome to expect, from the j stored completions a_i that are most similar to a.

    kappa = softmax(cos(a, a_i) / temperature). Neural Episodic Control (Pritzel et al., 2017, arXiv 1703.01988), with a
    softmax of cosines as the kernel.

    Args:
        similarity: cosines to the neighbours, nearest first (n, j). -inf stands for no neighbour: its outcome is
            ignored, and how many of these there are does not change the bits of a value.
        outcome: R_i, the neighbours' outcomes (n, j).
        temperature: > 0; a neighbour whose cosine is smaller by this much has a weight of 1/e, about a third.

    Returns:
        (n,) between the smallest and the largest of the item's R_i; NaN where there is no neighbour.
    """
    there = similarity > -np.inf
    estimate = np.full(len(similarity), np.nan)
    for item in np.flatnonzero(there.any(axis=-1)).tolist():
        cosines = similarity[item, there[item]].tolist()
        nearest = max(cosines)
        kernel = [math.exp((cosine - nearest) / temperature) for cosine in cosines]
        outcomes = outcome[item, there[item]].tolist()
        unit = HUGE if max(map(abs, outcomes)) > HUGE else 1.0  # a power of two, and the sum does not overflow
        weighted = math.fsum(weight * (r / unit) for weight, r in zip(kernel, outcomes, strict=True))
        estimate[item] = weighted / math.fsum(kernel) * unit
    return estimate
