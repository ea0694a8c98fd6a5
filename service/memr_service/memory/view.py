"""A memory as it would be after a request's writes, without writing (L9). `reading` reads there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby

import numpy as np

from memr_service.memory.grid import in_grid, on_grid
from memr_service.memory.memory import Memory
from memr_service.memory.writes import Write, Writes


class View:
    """A memory plus the writes staged on it. The memory itself stays as it is.

    An entry is a stored completion: a row of the memory where >= 0, else ~item of the request.

    Attributes:
        completion_count: entries stored, the staged ones included.
        added: items of the request that were staged as entries.
        removed: entries that have left, staged ones included.
    """

    merges = False
    """Whether an entry may stand for several completions."""

    def __init__(self, memory: Memory, completions: np.ndarray) -> None:
        """`completions` (n, d) are the request's, which staged entries refer to as ~item."""
        self.memory = memory
        self.completions = completions
        self.completion_count = memory.completion_count
        self.added: list[int] = []
        self.removed: list[int] = []
        self._head = memory.prompts.head
        self._tail = memory.prompts.tail
        self._number: dict[bytes, int] = {}
        self._embedding: list[np.ndarray] = []
        self._entries: dict[int, list[int]] = {}
        self._columns: dict[int, np.ndarray] = {}  # prompt -> its entries, until they change

    # Staging

    def write(self, key: bytes, prompt: np.ndarray, items: Sequence[int]) -> list[Write]:
        """Stage completions under their prompt; return what `Writes.of` takes."""
        number = self.find(key)
        drops_prompt = number is None and self.prompt_count == self.memory.max_prompts
        if drops_prompt:
            self.removed += self.entries(self._head)
            self.completion_count -= len(self.entries(self._head))
            self._head += 1
        if number is None:
            number = self._number[key] = self._tail
            self._embedding.append(prompt)
            self._entries[number] = []
            self._tail += 1
        entries = self._staged(number)
        entries += [~item for item in items]
        self.added += items
        drops = max(0, len(entries) - self.memory.max_completions)
        self.removed += entries[:drops]
        del entries[:drops]
        self.completion_count += len(items) - drops
        stays = len(items) - drops
        return [(item, number, drops_prompt and not at, at >= stays) for at, item in enumerate(items)]

    def write_all(self, items: np.ndarray, keys: list[bytes], prompts: np.ndarray | Sequence[np.ndarray]) -> Writes:
        """Stage several completions in order; `keys` and `prompts` (n, d) are those of all items."""
        writes = []
        for key, together in groupby(items.tolist(), key=keys.__getitem__):
            first, *others = together
            writes += self.write(key, prompts[first], [first, *others])
        return Writes.of(writes)

    def _staged(self, number: int) -> list[int]:
        """A prompt's entries, to be changed."""
        self._columns.pop(number, None)
        entries = self._entries.get(number)
        if entries is None:
            entries = self._entries[number] = self.memory.entries[number].tolist()
        return entries

    # Prompts

    @property
    def prompt_count(self) -> int:
        """Prompts stored, the staged ones included."""
        return self._tail - self._head

    def find(self, key: bytes) -> int | None:
        """Number of the stored prompt with this identity."""
        number = self._number.get(key)
        if number is None:
            number = self.memory.number.get(key)
        return number if number is not None and number >= self._head else None

    def leaving_prompts(self) -> np.ndarray:
        """Numbers of the memory's prompts that have left here, ascending."""
        return np.arange(self.memory.prompts.head, self._head)

    def staged_prompts(self) -> np.ndarray:
        """Numbers of the prompts that are stored here and not in the memory, ascending."""
        return np.arange(max(self._head, self.memory.prompts.tail), self._tail)

    def embeddings(self, numbers: np.ndarray) -> np.ndarray:
        """Embeddings (m, d) of some prompts (m,)."""
        tail = self.memory.prompts.tail
        stored = self.memory.prompts.take(numbers[numbers < tail])
        staged = [self._embedding[number - tail] for number in numbers[numbers >= tail].tolist()]
        return np.concatenate([stored, staged]) if staged else stored

    # Entries

    def entries(self, prompt: int) -> list[int]:
        """A prompt's entries, oldest first."""
        staged = self._entries.get(prompt)
        return staged if staged is not None else self.memory.entries[prompt].tolist()

    def column(self, prompt: int) -> np.ndarray:
        """A prompt's entries (m,), oldest first; not to be changed by the caller."""
        column = self._columns.get(prompt)
        if column is None:
            staged = self._entries.get(prompt)
            column = np.array(self.memory.entries[prompt] if staged is None else staged, np.int64)
            self._columns[prompt] = column
        return column

    def held(self, items: np.ndarray, entries: np.ndarray) -> np.ndarray:
        """Position in their prompt's `entries` (m,) of the entry that each of `items` (g,) must not see, -1 for none.

        It is the item's own entry; else that of the next item of the prompt that is stored (cyclic item order, L9).
        """
        (positions,) = (entries < 0).nonzero()
        if not len(positions):
            return np.full(len(items), -1)
        stored = ~entries[positions]  # the request's items stored under this prompt, in item order
        return np.asarray(positions[stored.searchsorted(items) % len(stored)])

    def units(self, entries: np.ndarray) -> np.ndarray:
        """How many completions each entry stands for (m,)."""
        return np.ones(len(entries), np.int64)

    def unit_count(self, entries: np.ndarray) -> int:
        """How many completions some entries (m,) stand for together."""
        return len(entries)

    def weights(self, entries: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """How many completions each entry stands for (m,), and the weight that its age leaves it (m,)."""
        return self.units(entries), np.ones(len(entries))

    def serials(self, entries: np.ndarray, first_serial: int) -> np.ndarray:
        """Serial numbers (m,) of entries; the request's own items start at `first_serial`."""
        serials = first_serial + ~entries
        serials[entries >= 0] = self.memory.serials[entries[entries >= 0]]
        return serials

    def vectors(self, entries: np.ndarray) -> np.ndarray:
        """float32 completions (m, d) behind `entries` (m,)."""
        staged = entries < 0
        if staged.all():
            return np.asarray(self.completions[~entries])
        if not staged.any():
            return self.memory.completions.take(entries)
        vectors = self.memory.completions.take(np.where(staged, 0, entries))
        vectors[staged] = self.completions[~entries[staged]]
        return vectors

    # Sums

    @cached_property
    def exact(self) -> np.ndarray:
        """The request's completions (n, d) on the grid on which sums are exact."""
        return on_grid(self.completions)

    def sum(self, prompt: int) -> np.ndarray:
        """Sum (d,) of a prompt's completions, exact (see `grid`)."""
        return self.sums([prompt])[prompt]

    def sums(self, prompts: Iterable[int]) -> dict[int, np.ndarray]:
        """`sum` of several prompts: of what the memory has, plus what was added, minus what has left."""
        memory, wanted = self.memory, [*prompts]
        totals = memory.sums([prompt for prompt in wanted if prompt in memory.entries])
        removed: list[tuple[int, Sequence[int]]] = []
        for prompt in wanted:
            total, staged = totals.setdefault(prompt, np.zeros(self.completions.shape[1])), self._entries.get(prompt)
            if staged is None:
                continue
            added = [~entry for entry in staged if entry < 0]
            if added:
                totals[prompt] = total + self.exact[added].sum(axis=0)
            stored = memory.entries.get(prompt)
            if stored and len(stored) + len(added) > len(staged):
                removed.append((prompt, stored[: len(stored) + len(added) - len(staged)]))
        if removed:
            exact = on_grid(memory.completions.take(np.array([row for _, rows in removed for row in rows], np.int64)))
            start = 0
            for prompt, rows in removed:
                totals[prompt] = totals[prompt] - exact[start : start + len(rows)].sum(axis=0)
                start += len(rows)
        return totals

    def total(self) -> np.ndarray:
        """Sum (d,) of all completions stored, in whole multiples of the grid (see `Memory.total`)."""
        added = in_grid(self.completions[self.added]).sum(axis=0)
        removed = in_grid(self.vectors(np.array(self.removed, np.int64))).sum(axis=0)
        return np.asarray(self.memory.total() + added - removed)


@dataclass(frozen=True)
class Gathered:
    """The float32 completions (m, d) behind some entries (m,) of a view, gathered when they are looked at."""

    view: View
    entries: np.ndarray

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, positions: slice | np.ndarray) -> np.ndarray:
        return self.view.vectors(self.entries[positions])
