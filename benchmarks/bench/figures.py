"""`Figure`: a row of the report with its spread and its description."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.report import Row


@dataclass(frozen=True)
class Figure:
    """The median of repeated measurements, with their minimum and maximum."""

    row: Row
    low: float
    high: float
    says: str

    def __str__(self) -> str:
        row = self.row
        spread = "" if self.low == self.high else f"{_short(self.low)} to {_short(self.high)}"
        bound, wished = ("" if one is None else _short(one) for one in (row.floor, row.goal))
        verdict = {None: "", True: "holds", False: "MISSED"}[row.holds]
        cells = f"{row.name:<46}{_short(row.value):>10} {spread:<20}{row.unit:<8}{bound:>8}{wished:>8}  {verdict:<8}"
        return f"{cells}{self.says}"


HEAD = f"{'':<46}{'median':>10} {'least to most':<20}{'':<8}{'floor':>8}{'goal':>8}"


def figure(
    name: str,
    measured: Sequence[float],
    unit: str,
    says: str,
    *,
    floor: float | None = None,
    goal: float | None = None,
    at_most: bool = False,
) -> Figure:
    """A figure from repeated measurements."""
    row = Row(name, float(np.median(measured)), unit, floor, goal, at_most)
    return Figure(row, min(measured), max(measured), says)


def _short(value: float) -> str:
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.5g}" if 0.99 < value < 1 else f"{value:.3g}"
