"""What a completion gets for its turns, where the run's unit is the turn."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from memr_client.schemas import RunConfig

from memr_service.state.record import Batch


@dataclass(frozen=True)
class Turns:
    """m turns of n completions: `starts` (n,) and `ends` (n,) number each completion's first turn and its last."""

    starts: np.ndarray
    ends: np.ndarray
    mean: bool
    """Whether a completion gets the mean over its turns; otherwise what its last turn gets."""

    @classmethod
    def of(cls, config: RunConfig, batch: Batch, items: np.ndarray | None = None) -> Turns | None:
        """The turns of a batch (`items`: of some of its rows, whole completions in order); None if it has none."""
        if batch.turns_left is None:
            return None
        ends = np.flatnonzero((batch.turns_left if items is None else batch.turns_left[items]) == 0)
        starts = np.concatenate([np.zeros(min(len(ends), 1), np.int64), ends[:-1] + 1])
        return cls(starts, ends, config.combine_turns == "mean")

    def combined(self, values: np.ndarray) -> np.ndarray:
        """Values of turns (m,) as those of completions (n,); turns without a value (NaN) do not count in a mean."""
        if not self.mean or not len(self.ends):
            return np.asarray(values[self.ends])
        known = ~np.isnan(values)
        sums = np.add.reduceat(np.where(known, values, 0.0), self.starts)
        counts = np.add.reduceat(known.astype(np.int64), self.starts)
        return np.asarray(np.where(counts > 0, sums / np.maximum(counts, 1), np.nan))

    def added(self, counts: np.ndarray) -> np.ndarray:
        """How many completions were read (n,): by all turns together, or by the last."""
        return np.asarray(np.add.reduceat(counts, self.starts)) if self.mean and len(self.ends) else counts[self.ends]

    def united(self, rejected: list[list[str]]) -> list[list[str]]:
        """Why turns were rejected (n): the reasons of all turns, each once, or those of the last."""
        if not self.mean:
            return [rejected[end] for end in self.ends.tolist()]
        return [
            list(dict.fromkeys(reason for reasons in rejected[start : end + 1] for reason in reasons))
            for start, end in zip(self.starts.tolist(), self.ends.tolist(), strict=True)
        ]

    def listed(self, values: np.ndarray) -> list[list[float]]:
        """The values of each completion's turns (n)."""
        return [part.tolist() for part in np.split(values, self.ends[:-1] + 1)] if len(self.ends) else []
