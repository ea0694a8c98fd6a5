"""Scaling that a few outliers in the window cannot flatten, instead of min-max (`memr_service.state.window.scale`).

As with min-max, all values scale to 0 if those of the window differ by less than 1e-6, and NaN scales to 0.
"""

from __future__ import annotations

import numpy as np

from memr_service.state.window import FLAT, between, spread_of

TRIMMED = 20
"""One in 20 values is left out at each end, which gives the 5th and the 95th percentile: five of 100 values, none of
fewer than 20. The bounds are values of the window, not interpolated, so the size of an outlier does not affect them."""


def trimmed(window: np.ndarray, raw: np.ndarray) -> np.ndarray:
    """(x - low) / (high - low + 1e-8), cut to [0, 1]: min-max between the window's 5th and 95th percentile.

    Args:
        window: finite values, in any order, those of this request included.
        raw: the values to scale (n,), NaN for none.

    Returns:
        (n,) in [0, 1].
    """
    if not len(window):
        return np.zeros(len(raw))
    ordered, out = np.sort(window), len(window) // TRIMMED
    low, high = ordered[out], ordered[len(ordered) - 1 - out]
    if spread_of(low, high) < FLAT:
        return np.zeros(len(raw))
    return np.where(np.isnan(raw), 0.0, np.clip(between(raw, low, high), 0.0, 1.0))


def rank(window: np.ndarray, raw: np.ndarray) -> np.ndarray:
    """(below + 0.5 * equal) / size: the rank of a value in the window, so that no value can squeeze the others.

    `below` and `equal` are the numbers of values in the window that are smaller than it and equal to it, `size` is that
    of all. Small differences become as large as big ones. Arguments and result are those of `trimmed`.
    """
    if not len(window) or spread_of(window.min(), window.max()) < FLAT:
        return np.zeros(len(raw))
    ordered = np.sort(window)
    below, upto = np.searchsorted(ordered, raw, "left"), np.searchsorted(ordered, raw, "right")
    return np.where(np.isnan(raw), 0.0, (below + upto) / (2.0 * len(window)))
