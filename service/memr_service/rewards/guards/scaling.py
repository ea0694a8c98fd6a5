"""Scaling that a few outliers in the window cannot flatten, in place of min-max (`memr_service.state.window.scale`).

As there a window whose values all but agree says nothing, and NaN scales to 0.
"""

from __future__ import annotations

import numpy as np

from memr_service.state.window import EPSILON, FLAT

TRIMMED = 20
"""One in so many values is left out at either end: the 5th and 95th percentile, whole values, so that no junk value's
size leaks into the bounds by interpolation. Of 100 values five at each end are left out, of fewer than 20 none."""


def trimmed(window: np.ndarray, raw: np.ndarray) -> np.ndarray:
    """(x - low) / (high - low + 1e-8), cut to [0, 1], between the window's 5th and 95th percentile.

    Args:
        window: finite values, in any order; those of this request are among them where they should count.
        raw: the values to scale (n,), NaN for none.

    Returns:
        (n,) in [0, 1].
    """
    if not len(window):
        return np.zeros(len(raw))
    ordered, out = np.sort(window), len(window) // TRIMMED
    low, high = ordered[out], ordered[len(ordered) - 1 - out]
    if high - low < FLAT:
        return np.zeros(len(raw))
    return np.where(np.isnan(raw), 0.0, np.clip((raw - low) / (high - low + EPSILON), 0.0, 1.0))


def rank(window: np.ndarray, raw: np.ndarray) -> np.ndarray:
    """Share of the window's values that lie below x, equal ones counting half: no value can squeeze the others.

    It also makes small differences as large as big ones. Arguments and result as for `trimmed`.
    """
    if not len(window) or np.ptp(window) < FLAT:
        return np.zeros(len(raw))
    ordered = np.sort(window)
    below, upto = np.searchsorted(ordered, raw, "left"), np.searchsorted(ordered, raw, "right")
    return np.where(np.isnan(raw), 0.0, (below + upto) / (2.0 * len(window)))
