"""Counts of a quantity's values in bins, separately for right and wrong completions."""

from __future__ import annotations

import numpy as np
from memr_client.schemas import Sides

SLACK = 1e-9
"""A value this close to a multiple of the step, in steps, counts as that multiple."""


class Histogram:
    """How often values fell into each bin. Its size does not depend on how many values there are.

    Counts are exact for limits that are multiples of the step.

    >>> histogram = Histogram(0.001)
    >>> histogram.add(np.array([0.62, 0.71, np.nan]), right=np.array([True, False, True]))
    >>> histogram.quantile(0.5), histogram.below(0.65)
    (0.62, Sides(right=1, wrong=0))
    """

    def __init__(self, step: float, *, ceiling: bool = False) -> None:
        """Make an empty histogram.

        Args:
            step: width of a bin.
            ceiling: whether it serves an upper limit, so that a value equal to the limit is not `above` it; otherwise
                it serves a floor.
        """
        self._step = step
        self._ceiling = ceiling
        self._first = 0
        self._counts = np.zeros((2, 0), np.int64)  # [wrong, right] by bin, from `_first` on

    def add(self, values: np.ndarray, right: np.ndarray) -> None:
        """Count values (n,) of completions, NaN for none; `right` (n,) bool says which completions are right."""
        defined = ~np.isnan(values)
        if defined.any():
            bins = self._bin(values[defined])
            self._make_room(int(bins.min()), int(bins.max()) + 1)
            np.add.at(self._counts, (right[defined].astype(np.intp), bins - self._first), 1)

    def seen(self) -> Sides:
        """How many values were counted."""
        return _sides(self._counts)

    def below(self, floor: float) -> Sides:
        """How many values are below a multiple of the step."""
        return _sides(self._counts[:, : max(0, self._column(floor))])

    def above(self, limit: float) -> Sides:
        """How many values are above a multiple of the step, with `ceiling` or for whole numbers."""
        return _sides(self._counts[:, max(0, self._column(limit) + 1) :])

    def quantile(self, share: float, *, right_only: bool = False) -> float:
        """The smallest multiple of the step that this share of the values does not exceed; NaN without values."""
        counts = self._counts[1] if right_only else self._counts.sum(axis=0)
        if not (total := int(counts.sum())):
            return float("nan")
        column = int(np.searchsorted(np.cumsum(counts), max(1, np.ceil(share * total - SLACK))))
        return round((self._first + column) * self._step, 9)

    def _bin(self, values: np.ndarray) -> np.ndarray:
        scaled = values / self._step
        return np.asarray(np.ceil(scaled - SLACK) if self._ceiling else np.floor(scaled + SLACK), np.int64)

    def _column(self, limit: float) -> int:
        return int(self._bin(np.array([limit]))[0]) - self._first

    def _make_room(self, first: int, end: int) -> None:
        size = self._counts.shape[1]
        if not size:
            self._first = first
        before, after = max(0, self._first - first), max(0, end - self._first - size)
        if before or after:
            self._counts = np.pad(self._counts, ((0, 0), (before, after)))
            self._first -= before


def _sides(counts: np.ndarray) -> Sides:
    wrong, right = counts.sum(axis=1).tolist()
    return Sides(right=right, wrong=wrong)
