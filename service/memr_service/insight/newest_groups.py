"""The newest groups of a run: what pass rates foresaw of their spread, and whether it came."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from memr_client.schemas import SpreadForeseen

from memr_service.insight.backtest import calibration_bins, calibration_error
from memr_service.planning.beta import fit, no_spread
from memr_service.run.run import Run

MOST = 1024
"""Groups that are looked at, of the last 64 records."""


@dataclass(frozen=True)
class NewestGroups:
    """m groups, the newest first. `right`, `wrong`: their completions (m,). `a`, `b`: the Beta distribution of each
    one's pass rate before it (m,). `visited`: whether its prompt had been visited before (m,) bool."""

    right: np.ndarray
    wrong: np.ndarray
    a: np.ndarray
    b: np.ndarray
    visited: np.ndarray
    planned: bool
    """Whether the run has a pool."""

    @property
    def spread(self) -> np.ndarray:
        """Whether some of each group were right and some wrong (m,) bool."""
        return (self.right > 0) & (self.wrong > 0)

    def calibration(self) -> SpreadForeseen:
        """What was foreseen of the groups whose prompts had been visited."""
        spread, size = self.spread[self.visited], (self.right + self.wrong)[self.visited]
        foreseen = np.zeros(len(size))
        for one in np.unique(size).tolist():
            these = size == one
            foreseen[these] = 1 - no_spread(self.a[self.visited][these], self.b[self.visited][these], one)
        known = len(size) > 0
        return SpreadForeseen(
            groups=len(size),
            foreseen=float(foreseen.mean()) if known else None,
            seen=float(spread.mean()) if known else None,
            error=calibration_error(calibration_bins(foreseen, spread)),
            planned=self.planned,
        )


def newest_groups(run: Run, upto: int) -> NewestGroups | None:
    """The newest groups up to a position; None for a run without pass rates. In the run thread.

    A group counts where one record began its visit and no other visit of its prompt.
    """
    rates = run.state.pass_rates
    if rates is None:
        return None
    before, after = rates.visits(upto, MOST)
    size = after["size"].astype(np.int64)
    right = after["right"] - before["right"] / 2
    whole = (size > 1) & (right == np.round(right)) & (right >= 0) & (right <= size)
    before, size, right = before[whole], size[whole], right[whole].astype(np.int64)
    a, b = fit(rates.used["right"], rates.used["wrong"])
    return NewestGroups(
        right=right,
        wrong=size - right,
        a=a + before["right"],
        b=b + before["wrong"],
        visited=before["visits"] > 0,
        planned=run.state.pool is not None,
    )
