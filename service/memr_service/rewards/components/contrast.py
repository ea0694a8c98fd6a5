"""contrast: how far a completion lies along the direction from the run's failures to its successes."""

from __future__ import annotations

import numpy as np


def contrast(a: np.ndarray, success_mean: np.ndarray, failure_mean: np.ndarray, has: np.ndarray) -> np.ndarray:
    """a . (mu_s - mu_f): the projection on the difference of the mean success and the mean failure.

    What right and wrong completions have in common, their topic, cancels; what separates them stays. Our own. The means
    are over everything that the run has stored, not over one prompt, without the entry that is held out for the item.

    Args:
        a: completions (n, d).
        success_mean: mu_s, for each item the mean of the successes it may see (n, d), float64, not of unit length.
        failure_mean: mu_f, the same of the failures (n, d).
        has: whether the item sees at least one of each (n,) bool.

    Returns:
        (n,) in [-2, 2]; NaN where `has` is False.
    """
    projection = (a.astype(np.float64) * (success_mean - failure_mean)).sum(axis=-1)
    return np.where(has, projection, np.nan)
