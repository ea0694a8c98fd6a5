"""Statistics of paired differences between a method and a control on the same seeds.

    interval    percentile bootstrap of the mean difference over the seeds, at the level 1 - 0.05 / m
    p           exact sign-flip test of the same differences, times m
    m           number of comparisons (Bonferroni correction), so that all intervals hold together with probability 0.95

With few seeds the bootstrap interval is too narrow. The sign-flip test is exact: with n seeds, its smallest p is
2 / 2^n before the correction. So a difference holds if both agree.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

LEVEL = 0.95
RESAMPLES = 20_000


@dataclass(frozen=True)
class Comparison:
    """A method minus a control, over the seeds of both."""

    seeds: int
    difference: float
    low: float
    """Lower end of the corrected interval of the difference."""
    high: float
    p: float
    """Corrected, two-sided, at most 1."""

    @property
    def holds(self) -> bool:
        """Whether the difference is not 0, in either direction, after the correction."""
        return (self.low > 0 or self.high < 0) and self.p < 1 - LEVEL


def compare(method: Sequence[float], control: Sequence[float], *, comparisons: int) -> Comparison:
    """Compare two columns over the same seeds (n,), n >= 2. `comparisons` is the number of comparisons made."""
    if len(method) != len(control) or len(method) < 2:
        raise ValueError(f"a paired comparison needs the same seeds twice, at least 2: {len(method)}, {len(control)}")
    difference = np.subtract(method, control)
    low, high = interval(difference, 1 - (1 - LEVEL) / comparisons)
    p = min(1.0, comparisons * sign_flip(difference))
    return Comparison(len(difference), float(difference.mean()), low, high, p)


def interval(values: np.ndarray, level: float) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean of `values` (n,)."""
    drawn = stats.bootstrap(
        (values,),
        np.mean,
        confidence_level=level,
        n_resamples=RESAMPLES,
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    return float(drawn.low), float(drawn.high)


def sign_flip(values: np.ndarray) -> float:
    """p of the exact sign-flip test: the share of the 2^n sign changes of `values` (n,) with a mean as far from 0."""
    test = stats.permutation_test((values,), np.mean, permutation_type="samples", n_resamples=np.inf, vectorized=True)
    return float(test.pvalue)
