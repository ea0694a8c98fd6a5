"""Counts of a quantity's values in bins, of right and of wrong completions apart: of one size however long the run."""

from __future__ import annotations

import numpy as np
from memr_client.schemas import Sides

SLACK = 1e-9
"""Values are taken for the multiple of the step that they are within so many steps of."""


class Histogram:
    """How often values fell into each bin. Bins are exact at multiples of the step, where limits are laid.

    tally = Tally(0.001)
    tally.add(np.array([0.62, 0.71, np.nan]), right=np.array([True, False, True]))
    tally.quantile(0.5), tally.below(0.65)                  # (0.62, Sides(right=1, wrong=0))
    """

    def __init__(self, step: float, *, ceiling: bool = False) -> None:
        """`ceiling`: for an upper limit, so that a value equal to it is not `above`; else for a floor."""
        self._step = step
        self._ceiling = ceiling
        self._first = 0
        self._counts = np.zeros((2, 0), np.int64)  # [wrong, right] by bin, from `_first` on

    def add(self, values: np.ndarray, right: np.ndarray) -> None:
        """Count values (n,), NaN for none, of right (n,) bool and of wrong completions."""
        there = ~np.isnan(values)
        if there.any():
            bins = self._bin(values[there])
            self._make_room(int(bins.min()), int(bins.max()) + 1)
            np.add.at(self._counts, (right[there].astype(np.intp), bins - self._first), 1)

    def seen(self) -> Sides:
        """How many values were counted."""
        return _sides(self._counts)

    def below(self, floor: float) -> Sides:
        """How many values lie below a multiple of the step."""
        return _sides(self._counts[:, : max(0, self._place(floor))])

    def above(self, limit: float) -> Sides:
        """How many values lie above a multiple of the step (of a tally with `ceiling`, or of whole numbers)."""
        return _sides(self._counts[:, max(0, self._place(limit) + 1) :])

    def quantile(self, share: float, *, right_only: bool = False) -> float:
        """The least value that so large a share of the values does not lie above, to one step; NaN where none is."""
        counts = self._counts[1] if right_only else self._counts.sum(axis=0)
        if not (total := int(counts.sum())):
            return float("nan")
        place = int(np.searchsorted(np.cumsum(counts), max(1, np.ceil(share * total - SLACK))))
        return round((self._first + place) * self._step, 9)

    def _bin(self, values: np.ndarray) -> np.ndarray:
        scaled = values / self._step
        return np.asarray(np.ceil(scaled - SLACK) if self._ceiling else np.floor(scaled + SLACK), np.int64)

    def _place(self, limit: float) -> int:
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
