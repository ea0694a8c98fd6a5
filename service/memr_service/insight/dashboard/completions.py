"""The completions of a run for the dashboard: filtered, sorted, a page at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from memr_client.errors import InvalidRequest

from memr_service.run.history import Columns


@dataclass(frozen=True)
class CompletionList:
    """n completions, the newest first. Every array is (n,)."""

    position: np.ndarray
    item: np.ndarray
    serial: np.ndarray
    """The serial number of each: how many completions the run had taken before it."""
    step: np.ndarray
    """-1 for none."""
    sortable: dict[str, np.ndarray]
    """`position`, `outcome`, `reward`, `length`, and the raw values of each component by its name."""
    rejecting: dict[str, list[int]]
    """Reason of a rejection -> positions of the records with such completions."""
    rejected: dict[str, int]
    """Reason of a rejection -> number of completions."""

    @classmethod
    def of(cls, records: Sequence[Columns], components: Sequence[str], taken: int) -> CompletionList:
        """The items of consecutive records, the last of which is the run's completion number `taken` - 1."""
        sizes = [len(one.outcomes) for one in records]
        position = np.repeat(np.array([one.position for one in records], np.int64), sizes)[::-1]
        rejecting: dict[str, list[int]] = {}
        for one in records:
            for reason in one.rejected:
                rejecting.setdefault(reason, []).append(one.position)
        steps = np.array([-1 if one.step is None else one.step for one in records], np.int64)
        return cls(
            position=position,
            item=np.concatenate([np.arange(size) for size in sizes] or [np.empty(0, np.int64)])[::-1],
            serial=np.arange(taken - len(position), taken)[::-1],
            step=np.repeat(steps, sizes)[::-1],
            sortable={
                "position": position,
                "outcome": _newest_first([one.outcomes for one in records]),
                "reward": _newest_first([one.rewards for one in records]),
                "length": _newest_first([one.lengths for one in records]),
                **{name: _newest_first([one.raw[name] for one in records]) for name in components},
            },
            rejecting=rejecting,
            rejected=dict(sum((Counter(one.rejected) for one in records if one.rejected), Counter())),
        )

    def of_first_records(self, found: np.ndarray, most: int) -> np.ndarray:
        """The first of some indices, up to those of `most` different records."""
        first = np.sort(np.unique(self.position[found], return_index=True)[1])
        return found if len(first) <= most else found[: first[most]]

    def find(
        self,
        sort: str,
        *,
        ascending: bool,
        right: bool | None,
        step: int | None,
        threshold: float,
        records: Sequence[int] | None = None,
    ) -> np.ndarray:
        """Indices of the completions that match, in order: equal values newest first, undefined values last.

        Args:
            sort: the array of `sortable` to sort by.
            right: only completions whose outcome is above the threshold, or only the others; None for all.
            step: only completions of this step; None for all.
            threshold: the run's `success_threshold`.
            records: only completions of the records at these positions; None for all.

        Raises:
            InvalidRequest: `sort` is not in `sortable`.
        """
        if sort not in self.sortable:
            raise InvalidRequest(
                f"Completions cannot be sorted by {sort[:64]!r}.",
                value=sort[:64],
                limit=list(self.sortable),
                remedy="Name one of these.",
            )
        wanted = np.ones(len(self.position), bool)
        if right is not None:
            wanted &= (self.sortable["outcome"] > threshold) == right
        if step is not None:
            wanted &= self.step == step
        if records is not None:
            wanted &= np.isin(self.position, np.array(records, np.int64))
        rows = np.flatnonzero(wanted)
        values = self.sortable[sort][rows]
        return rows[np.argsort(values if ascending else -values, kind="stable")]


def _newest_first(parts: list[np.ndarray]) -> np.ndarray:
    return np.concatenate(parts or [np.empty(0, np.float32)])[::-1]
