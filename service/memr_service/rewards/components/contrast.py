"""contrast: how far a completion lies along the direction from the run's failures to its successes."""

from __future__ import annotations

import numpy as np


def contrast(a: np.ndarray, success_mean: np.ndarray, failure_mean: np.ndarray, has: np.ndarray) -> np.ndarray:
    """a . (mu_s - mu_f): what right and wrong completions have in common, the topic, cancels; what divides them stays.

    Our own. The means are taken over everything the run has stored, not over one prompt, and the item's held-out entry
    is no part of its mean.

    Args:
        a: completions (n, d).
        success_mean: for each item the mean of the successes it may see (n, d), float64, not of unit length.
        failure_mean: the same of the failures (n, d).
        has: whether the item sees at least one of each (n,) bool.

    Returns:
        (n,) in [-2, 2]; NaN where `has` is False.
    """
    projection = (a.astype(np.float64) * (success_mean - failure_mean)).sum(axis=-1)
    return np.where(has, projection, np.nan)
