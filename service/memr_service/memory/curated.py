"""A memory whose entries are counted, grow old, and may leave in any order (`RunConfig.memory`)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
from memr_client.schemas import MemoryQuality

from memr_service.memory.grid import in_grid
from memr_service.memory.index import MARGINS, GraphSizes
from memr_service.memory.memory import Memory
from memr_service.memory.prompt_slots import PromptSlots
from memr_service.memory.writes import CuratedWrites, Writes

FAINT = 1e-12
"""The least weight that age leaves an entry: where all entries are old, all count equally."""

NEVER = 2**62
"""Stands in `seen` for a row without an entry: later than any step, so the row is never too old."""


def decay(age: np.ndarray, tau: float | None) -> np.ndarray:
    """exp(-age / tau) (m,) for ages in steps (m,), at least FAINT; 1 without a tau and for negative ages.

    It is computed by the C library, since numpy's own exponential differs between processors.
    """
    if tau is None:
        return np.ones(len(age))
    ages, number = np.unique(age, return_inverse=True)
    return np.array([max(FAINT, math.exp(-max(0, one) / tau)) for one in ages.tolist()])[number]


class CuratedMemory(Memory):
    """Prompts and entries as in `Memory`; an entry may stand for several completions, and is as old as the newest.

    Attributes:
        count: row -> how many completions the entry there stands for.
        seen: row -> the step at which it was stored or repeated last.
        owner: row -> number of its prompt.
    """

    prompts: PromptSlots

    def __init__(
        self,
        dimension: int,
        max_prompts: int,
        max_completions: int,
        storage: str,
        quality: MemoryQuality,
        *,
        indexed: bool = False,
        graph_sizes: GraphSizes | None = None,
    ) -> None:
        super().__init__(dimension, max_prompts, max_completions, storage, indexed=indexed, graph_sizes=graph_sizes)
        self.quality = quality
        self.prompts = PromptSlots(dimension, max_prompts, MARGINS[storage], graph_sizes)
        self.count, self.seen, self.owner = (np.empty(0, np.int64) for _ in range(3))

    def expired(self, now: int) -> np.ndarray:
        """Rows (m,) of the entries that are older than the age limit at step `now`."""
        if self.quality.max_age is None:
            return np.empty(0, np.int64)
        return np.flatnonzero(self.seen[: self._used] < now - self.quality.max_age)

    def apply(
        self,
        writes: Writes,
        keys: list[bytes],
        prompts: np.ndarray | Sequence[np.ndarray],
        completions: np.ndarray,
        serials: np.ndarray,
        outcomes: np.ndarray,
    ) -> None:
        """Do what a record says was written and what left (see `Memory.apply`)."""
        assert isinstance(writes, CuratedWrites)
        placed: dict[int, int] = {}  # item -> row of its entry
        for row in writes.expired.tolist():
            self._drop_entry(row)
        columns = (writes.item, writes.prompt, writes.into, writes.left_prompt, writes.left_entry, writes.drops_entry)
        for item, prompt, into, left_prompt, left_entry, drops_entry in zip(
            *(column.tolist() for column in columns), strict=True
        ):
            if left_prompt >= 0:
                for row in self.entries[left_prompt].tolist():
                    self._drop_entry(row)
            if prompt == self.prompts.tail:
                self._add_prompt(keys[item], prompts[item])
            if into == ~item:
                placed[item] = self._add_entry(prompt, completions[item], int(serials[item]), float(outcomes[item]))
            row = into if into >= 0 else placed[~into]
            self.count[row] += 1
            self.seen[row] = writes.step
            slot = self.prompts.slot(prompt)
            self.prompts.units[slot] += 1
            self.prompts.written[slot] = writes.step
            if drops_entry:
                self._drop_entry(left_entry if left_entry >= 0 else placed[~left_entry])

    def freeze(self) -> dict[str, np.ndarray]:
        """Everything this memory holds (see `Memory.freeze`)."""
        tail, used = self.prompts.tail, self._used
        return {
            **super().freeze(),
            **self.prompts.freeze(),
            "range": np.array([tail - len(self.number), tail, used]),
            "count": self.count[:used].copy(),
            "seen": self.seen[:used].copy(),
        }

    def restore(self, frozen: dict[str, np.ndarray]) -> None:
        """Become what `freeze` saw, without graphs."""
        super().restore(frozen)
        self.prompts.head = 0
        numbers = frozen["numbers"].tolist()
        self.number = dict(zip(self.number, numbers, strict=True))
        self.entries = dict(zip(numbers, self.entries.values(), strict=True))
        self._key = {number: key for key, number in self.number.items()}
        self.prompts.restore(frozen)
        self.count, self.seen = frozen["count"].copy(), frozen["seen"].copy()
        self.owner = np.empty(len(self.count), np.int64)
        for number, rows in self.entries.items():
            self.owner[np.array(rows)] = number

    def contents(self) -> Iterator[bytes]:
        """Everything stored, in an order that depends on nothing else: for the run's digest."""
        yield from super().contents()
        for number, entries in self.entries.items():
            rows = np.array(entries)
            yield np.concatenate([self.count[rows], self.seen[rows]]).tobytes()
            yield self.prompts.written[[self.prompts.slot(number)]].tobytes()

    def _add_entry(self, prompt: int, vector: np.ndarray, serial: int, outcome: float) -> int:
        """Store a completion (d,) as its prompt's newest entry, with a count of 0; return its row."""
        row = self._allocate()
        self.entries[prompt].append(row)
        self.serials[row], self.outcomes[row], self.owner[row], self.count[row] = serial, outcome, prompt, 0
        self.completions.put(row, vector)
        if self._total is not None:
            self._total = self._total + in_grid(vector)
        if self.index is not None:
            self.index.append(np.array([serial]), np.array([row]))
        return row

    def _drop_entry(self, row: int) -> None:
        """Remove an entry, and its prompt with its last entry."""
        prompt = int(self.owner[row])
        if self._total is not None:
            self._total = self._total - in_grid(self.completions.take(np.array([row]))[0])
        if self.index is not None:
            self.index.drop(self.serials[[row]])
        self._free.append(row)
        self.seen[row] = NEVER
        self.entries[prompt].remove(row)
        self.prompts.units[self.prompts.slot(prompt)] -= self.count[row]
        if not self.entries[prompt]:
            del self.number[self._key.pop(prompt)], self.entries[prompt]
            self.prompts.drop(prompt)

    def _allocate(self) -> int:
        row = super()._allocate()
        if len(self.count) < len(self.serials):
            more = np.zeros(len(self.serials) - len(self.count), np.int64)
            self.count, self.seen, self.owner = (
                np.concatenate([column, more]) for column in (self.count, self.seen, self.owner)
            )
        return row
