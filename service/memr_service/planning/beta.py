"""Pass rates as Beta distributions: the probability of spread, and the distribution for unseen prompts."""

from __future__ import annotations

import numpy as np

LEAST = 0.02
"""Least parameter of a fitted distribution."""
UNFITTED = (0.3, 0.3)
"""The distribution of an unseen prompt while too few prompts are known."""
ENOUGH = 32
"""Prompts that have to be known before a distribution is fitted to them."""
BLOCK = 1 << 14
"""Prompts that are computed at a time, so that the numbers stay in the processor's cache."""
DRAWN = 8
"""Outcomes whose factors are multiplied before one division; with counts up to 1e9 the product is a float64."""
LARGE_GROUP = 32
"""Groups that are larger are foreseen once for all prompts with equal parameters."""


def no_spread(a: np.ndarray, b: np.ndarray, size: int) -> np.ndarray:
    """Probability that `size` outcomes are all equal where the pass rate is Beta(a, b) (m,).

    B(a + G, b) / B(a, b) + B(a, b + G) / B(a, b), as products: they are the same to the last bit on every processor.
    """
    if size > LARGE_GROUP and len(a) > BLOCK:  # counts are small numbers, so many are equal
        distinct, of = np.unique(a + 1j * b, return_inverse=True)
        if len(distinct) <= BLOCK:
            return np.asarray(no_spread(distinct.real, distinct.imag, size)[of.ravel()])
    found = np.empty(len(a))
    for start in range(0, len(a), BLOCK):
        part = slice(start, start + BLOCK)
        up, down = a[part], b[part]
        both, factor = up + down, np.empty(len(up))
        right, wrong = np.ones(len(up)), np.ones(len(up))
        for first in range(0, size, DRAWN):
            total, good, bad = both + first, up + first, down + first
            for drawn in range(first + 1, min(first + DRAWN, size)):
                for start_of, product in ((both, total), (up, good), (down, bad)):
                    np.add(start_of, drawn, out=factor)
                    product *= factor
            right *= np.divide(good, total, out=good)
            wrong *= np.divide(bad, total, out=bad)
        found[part] = right + wrong
    return found


def fit(right: np.ndarray, wrong: np.ndarray) -> tuple[float, float]:
    """The Beta distribution of the pass rates of prompts with these counts (m,), by moments.

    The variance of the shares, less what sampling adds to it, gives the intra-class correlation rho, and
    a + b = 1 / rho - 1 (the beta-binomial's). Both parameters are at least LEAST, and are rounded to six digits.
    """
    total = right + wrong
    known = total > 0
    if np.count_nonzero(known) < ENOUGH:
        return UNFITTED
    share, total = right[known] / total[known], total[known]
    mean = float(share.mean())
    sampling = float((1 / np.maximum(total, 1)).mean())
    spread = mean * (1 - mean)
    rho = 1.0
    if spread > 0 and sampling < 1:
        rho = (float(((share - mean) ** 2).mean()) / spread - sampling) / (1 - sampling)
    concentration = 1 / min(max(rho, 0.02), 0.98) - 1
    return round(max(mean * concentration, LEAST), 6), round(max((1 - mean) * concentration, LEAST), 6)
