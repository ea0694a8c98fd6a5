"""A curated memory as it would be after a request's writes: what merges, what is too old, what is worth least."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain, islice

import numpy as np

from memr_service.memory.cosine import exact_cosines
from memr_service.memory.curated import CuratedMemory, decay
from memr_service.memory.grid import on_grid
from memr_service.memory.view import View
from memr_service.memory.writes import CuratedWrites, Write, Writes


class CuratedView(View):
    """As `View`; entries that are too old at step `now` leave before anything is read or written."""

    memory: CuratedMemory
    merges = True

    def __init__(self, memory: CuratedMemory, completions: np.ndarray, now: int) -> None:
        super().__init__(memory, completions)
        self.now = now
        self._quality = memory.quality
        self._count: dict[int, int] = {}  # entry -> completions it stands for, where that changed
        self._changed: np.ndarray | None = None  # the same, (s, 2), ascending by entry; None: out of date
        self._members: dict[int, list[int]] = {}  # entry -> the request's items that it stands for
        self._gone: set[int] = set()  # numbers of prompts that have left
        self._prompts = len(memory.number)
        self._tally: dict[int, tuple[int, int]] = {}  # prompt -> units and step written last, where they changed
        self._ranking: list[tuple[float, int, int]] | None = None
        self._moves: list[tuple[int, int, int]] = []  # of each write: into, left_prompt, left_entry
        self._expired = memory.expired(now)
        for row in self._expired.tolist():
            self._drop_entry(int(memory.owner[row]), row)

    # Staging

    def write(self, key: bytes, prompt: np.ndarray, items: Sequence[int]) -> list[Write]:
        """Stage completions under their prompt: as entries, or as one more unit of an entry that they repeat."""
        return [self._write(key, prompt, item) for item in items]

    def _write(self, key: bytes, prompt: np.ndarray, item: int) -> Write:
        number, left_prompt, left_entry, drops_entry = self.find(key), -1, 0, False
        if number is None and self.prompt_count == self.memory.max_prompts:
            left_prompt = self._least_prompt()
            self._drop_prompt(left_prompt)
        if number is None:
            number = self._add_prompt(key, prompt)
        into = self._repeated(number, item)
        if into is None:
            into = ~item
            self._staged(number).append(into)
            self.added.append(item)
            self.completion_count += 1
            drops_entry = len(self._staged(number)) > self.memory.max_completions
        self._count[into] = self._count_of(into) + 1
        self._changed = None
        self._members.setdefault(into, []).append(item)
        self._tally[number] = (self._tally_of(number)[0] + 1, self.now)
        if drops_entry:
            left_entry = self._least_entry(self._staged(number)[:-1])
            self._drop_entry(number, left_entry)
        self._moves.append((into, left_prompt, left_entry))
        return item, number, left_prompt >= 0, drops_entry

    def write_all(self, items: np.ndarray, keys: list[bytes], prompts: np.ndarray | Sequence[np.ndarray]) -> Writes:
        """Stage several completions in order; `keys` and `prompts` (n, d) are those of all items."""
        writes = super().write_all(items, keys, prompts)
        moves = np.array(self._moves, np.int64).reshape(-1, 3)
        into, left_prompt, left_entry = moves.T.copy()
        return CuratedWrites(**vars(writes), step=self.now, expired=self._expired, into=into, left_prompt=left_prompt,
                             left_entry=left_entry)  # fmt: skip

    # Prompts

    @property
    def prompt_count(self) -> int:
        """Prompts stored, the staged ones included."""
        return self._prompts

    def find(self, key: bytes) -> int | None:
        """Number of the stored prompt with this identity."""
        number = super().find(key)
        return None if number in self._gone else number

    def leaving_prompts(self) -> np.ndarray:
        """Numbers of the memory's prompts that have left here, ascending."""
        tail = self.memory.prompts.tail
        return np.array(sorted(number for number in self._gone if number < tail), np.int64)

    def staged_prompts(self) -> np.ndarray:
        """Numbers of the prompts that are stored here and not in the memory, ascending."""
        staged = [number for number in range(self.memory.prompts.tail, self._tail) if number not in self._gone]
        return np.array(staged, np.int64)

    # Entries

    def held(self, items: np.ndarray, entries: np.ndarray) -> np.ndarray:
        """Position in `entries` of the entry of which each item leaves one unit out, -1 for none (see `View.held`)."""
        stored = sorted((item, at) for at, one in enumerate(entries.tolist()) for item in self._members.get(one, ()))
        if not stored:
            return np.full(len(items), -1)
        members, positions = np.array(stored).T
        return np.asarray(positions[np.searchsorted(members, items) % len(members)])

    def units(self, entries: np.ndarray) -> np.ndarray:
        """How many completions each entry stands for (m,)."""
        units, positions, changed = self._column(entries, self.memory.count)
        units[positions] = changed
        return units

    def unit_count(self, entries: np.ndarray) -> int:
        """How many completions some entries (m,) stand for together."""
        return int(self.units(entries).sum())

    def weights(self, entries: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """How many completions each entry stands for (m,), and the weight that its age leaves it (m,)."""
        return self.units(entries), decay(self.now - self._seen(entries), self._quality.decay_steps)

    def sums(self, prompts: Iterable[int]) -> dict[int, np.ndarray]:
        """Sum (d,) of the completions that each prompt's entries stand for."""
        columns = {prompt: self.column(prompt) for prompt in prompts}
        return {
            prompt: (self.units(entries)[:, None] * on_grid(self.vectors(entries))).sum(axis=0)
            for prompt, entries in columns.items()
        }

    # Which entry repeats, which leaves

    def _repeated(self, prompt: int, item: int) -> int | None:
        """The entry that an item repeats: the most similar one, if it is similar enough; of equal ones the oldest."""
        least, entries = self._quality.merge_similarity, self.entries(prompt)
        if least is None or not entries:
            return None
        vectors = self.vectors(np.array(entries))
        near = np.flatnonzero(vectors @ self.completions[item] >= least - self.memory.prompts.margin)
        cosines = exact_cosines(self.completions[item], vectors[near])
        return entries[near[cosines.argmax()]] if len(near) and cosines.max() >= least else None

    def _least_entry(self, entries: list[int]) -> int:
        """Which of a prompt's entries leaves: the oldest, or the one of least value."""
        if self._quality.eviction == "fifo":
            return entries[0]
        count, fade = self.weights(np.array(entries))
        return entries[int(np.lexsort((self._seen(np.array(entries)), count * fade))[0])]

    def _least_prompt(self) -> int:
        """Which prompt leaves: the one stored first, or the one of least value."""
        if self._quality.eviction == "fifo":
            stored = (number for number in self.memory.number.values() if number not in self._gone)
            staged = (number for number in range(self.memory.prompts.tail, self._tail) if number not in self._gone)
            return next(chain(stored, staged))
        touched = [self._valued(number, *tally) for number, tally in self._tally.items() if number not in self._gone]
        untouched = (one for one in self._ranked() if one[2] not in self._tally)
        return min([*touched, *islice(untouched, 1)])[2]

    def _ranked(self) -> list[tuple[float, int, int]]:
        """All prompts of the memory as (value, step written last, number), the least valuable first."""
        if self._ranking is None:
            numbers, units, written = self.memory.prompts.tallies()
            value = units * decay(self.now - written, self._quality.decay_steps)
            order = np.lexsort((written, value))
            self._ranking = list(
                zip(value[order].tolist(), written[order].tolist(), numbers[order].tolist(), strict=True)
            )
        return self._ranking

    def _valued(self, number: int, units: int, written: int) -> tuple[float, int, int]:
        fade = decay(np.array([self.now - written]), self._quality.decay_steps)
        return float(units * fade[0]), written, number

    # Bookkeeping

    def _count_of(self, entry: int) -> int:
        count = self._count.get(entry)
        return count if count is not None else int(self.memory.count[entry]) if entry >= 0 else 0

    def _seen(self, entries: np.ndarray) -> np.ndarray:
        """The step at which each entry was stored or repeated last (m,)."""
        seen, positions, _ = self._column(entries, self.memory.seen)
        seen[positions] = self.now
        return seen

    def _column(self, entries: np.ndarray, stored: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """A column of the memory for some entries (m,); positions of the entries changed here, and their counts."""
        column = np.zeros(len(entries), np.int64)
        column[entries >= 0] = stored[entries[entries >= 0]]
        if not self._count:
            return column, np.empty(0, np.int64), np.empty(0, np.int64)
        if self._changed is None:
            self._changed = np.array(sorted(self._count.items()), np.int64)
        at = np.minimum(np.searchsorted(self._changed[:, 0], entries), len(self._changed) - 1)
        positions = np.flatnonzero(self._changed[at, 0] == entries)
        return column, positions, self._changed[at[positions], 1]

    def _tally_of(self, number: int) -> tuple[int, int]:
        tally = self._tally.get(number)
        if tally is None:
            slot = self.memory.prompts.slot(number)
            tally = int(self.memory.prompts.units[slot]), int(self.memory.prompts.written[slot])
        return tally

    def _add_prompt(self, key: bytes, prompt: np.ndarray) -> int:
        number = self._number[key] = self._tail
        self._embedding.append(prompt)
        self._entries[number] = []
        self._tally[number] = (0, self.now)
        self._tail += 1
        self._prompts += 1
        return number

    def _drop_prompt(self, number: int) -> None:
        for entry in list(self.entries(number)):
            self._drop_entry(number, entry)

    def _drop_entry(self, number: int, entry: int) -> None:
        """Remove an entry, and its prompt with its last entry."""
        entries = self._staged(number)
        entries.remove(entry)
        self.removed.append(entry)
        self.completion_count -= 1
        units, written = self._tally_of(number)
        self._tally[number] = (units - self._count_of(entry), written)
        if not entries:
            self._gone.add(number)
            self._prompts -= 1
