"""Scaling that a few outliers in the window cannot flatten, instead of min-max (`memr_service.state.window.scale`).

As with min-max, all values scale to 0 if those of the window differ by less than 1e-6, and NaN scales to 0.
"""

from __future__ import annotations

import numpy as np

from memr_service.state.window import FLAT, between, spread_of

TRIMMED = 20
"""One in 20 values is left out at each end, which gives the 5th and the 95th percentile: five of 100 values, none of
fewer than 20. The bounds are values of the window, not interpolated, so the size of an outlier does not affect them."""


def trimmed(window: np.ndarray, raw: np.ndarray, tails: float = 0.0) -> np.ndarray:
    """y = (x - low) / (high - low + 1e-8), where low and high are the window's 5th and 95th percentile.

    Without tails y is cut to [0, 1]. With tails t in (0, 0.5), values between the bounds get t + (1 - 2 t) y, values
    below them t / (1 - y) in (0, t), and values above them 1 - t / y in (1 - t, 1): no two values tie, and all of them
    are above 0, which is what a rejected item gets.

    Args:
        window: finite values, in any order, those of this request included.
        raw: the values to scale (n,), NaN for none.
        tails: t.

    Returns:
        (n,) in [0, 1].
    """
    if not len(window):
        return np.zeros(len(raw))
    ordered, out = np.sort(window), len(window) // TRIMMED
    low, high = ordered[out], ordered[len(ordered) - 1 - out]
    if spread_of(low, high) < FLAT:
        return np.zeros(len(raw))
    y = between(raw, low, high)
    if not tails:
        return np.where(np.isnan(raw), 0.0, np.clip(y, 0.0, 1.0))
    below, above = tails / (1.0 - np.minimum(y, 0.0)), 1.0 - tails / np.maximum(y, 1.0)
    scaled = np.where(y < 0.0, below, np.where(y > 1.0, above, tails + (1.0 - 2.0 * tails) * y))
    return np.where(np.isnan(raw), 0.0, scaled)


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
