"""A run's completions as a table: which of them are asked for, and in which order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from memr_client.errors import InvalidRequest

from memr_service.run.history import Columns


@dataclass(frozen=True)
class Table:
    """n completions, the newest first. Every column is (n,)."""

    position: np.ndarray
    item: np.ndarray
    serial: np.ndarray
    """Which of all completions the run ever took, from 0."""
    step: np.ndarray
    """-1 where there is none."""
    sortable: dict[str, np.ndarray]
    """`position`, `outcome`, `reward`, `length`, and the raw values of each component by its name."""

    @classmethod
    def of(cls, records: Sequence[Columns], components: Sequence[str], taken: int) -> Table:
        """The items of neighbouring records in order, the last of which is the run's completion number `taken` - 1."""
        sizes = [len(one.outcomes) for one in records]
        position = np.repeat(np.array([one.position for one in records], np.int64), sizes)[::-1]
        steps = np.array([-1 if one.step is None else one.step for one in records], np.int64)
        return cls(
            position=position,
            item=np.concatenate([np.arange(size) for size in sizes] or [np.empty(0, np.int64)])[::-1],
            serial=np.arange(taken - len(position), taken)[::-1],
            step=np.repeat(steps, sizes)[::-1],
            sortable={
                "position": position,
                "outcome": _column([one.outcomes for one in records]),
                "reward": _column([one.rewards for one in records]),
                "length": _column([one.lengths for one in records]),
                **{name: _column([one.raw[name] for one in records]) for name in components},
            },
        )

    def find(self, sort: str, *, ascending: bool, right: bool | None, step: int | None, threshold: float) -> np.ndarray:
        """Numbers of the rows asked for, in order; equals the newest first, and what has no value last.

        Args:
            sort: the column to sort by.
            right: only completions whose outcome lies above the threshold, or only the others; None: all.
            step: only those of this step.
            threshold: the run's `success_threshold`.

        Raises:
            InvalidRequest: there is no such column.
        """
        if sort not in self.sortable:
            raise InvalidRequest(
                f"Completions cannot be sorted by {sort[:64]!r}.",
                value=sort[:64],
                limit=list(self.sortable),
                remedy="Name one of these columns.",
            )
        wanted = np.ones(len(self.position), bool)
        if right is not None:
            wanted &= (self.sortable["outcome"] > threshold) == right
        if step is not None:
            wanted &= self.step == step
        rows = np.flatnonzero(wanted)
        values = self.sortable[sort][rows]
        return rows[np.argsort(values if ascending else -values, kind="stable")]


def _column(parts: list[np.ndarray]) -> np.ndarray:
    return np.concatenate(parts or [np.empty(0, np.float32)])[::-1]
