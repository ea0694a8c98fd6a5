"""The prompts of a memory that may leave in any order: for their age, or because they are worth least."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from memr_service.memory.completion_index import CompletionIndex
from memr_service.memory.index import Block, GraphSizes
from memr_service.memory.prompt_index import PromptIndex


class PromptSlots(PromptIndex):
    """Prompts numbered in the order they came, each in a slot that is used again after the prompt has left.

    Attributes:
        units: slot -> how many completions the prompt's entries stand for.
        written: slot -> the step at which the prompt was written to last.
    """

    def __init__(self, dimension: int, capacity: int, margin: float, graph_sizes: GraphSizes | None = None) -> None:
        super().__init__(dimension, capacity, margin, graph_sizes)
        self.units = np.empty(0, np.int64)
        self.written = np.empty(0, np.int64)
        self._slots = CompletionIndex(self.vectors, margin)
        self._free: list[int] = []

    def append(self, vector: np.ndarray) -> None:
        """Store the embedding (d,) of the prompt numbered `tail`."""
        if not self._free:
            self._grow()
        slot = self._free.pop()
        self.units[slot], self.written[slot] = 0, 0
        self.vectors.put(slot, vector)
        self._slots.append(np.array([self.tail]), np.array([slot]))
        self.tail += 1

    def drop(self, number: int) -> None:
        """Remove a prompt."""
        self._free.append(self.slot(number))
        self._slots.drop(np.array([number]))
        self._forget(np.array([number]))

    def slot(self, number: int) -> int:
        """The slot of a stored prompt."""
        return int(self._slots.rows(np.array([number]))[0])

    def tallies(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """All stored prompts: their numbers, ascending, their units, and the step of their last write (each (N,))."""
        numbers = self.stored(0, self.tail)
        slots = self._slots.rows(numbers)
        return numbers, self.units[slots], self.written[slots]

    def stored(self, start: int, stop: int) -> np.ndarray:
        """Numbers (m,) of [start, stop) that are stored, ascending."""
        return self._slots.stored(start, stop)

    def count(self, start: int, stop: int) -> int:
        """How many of [start, stop) are stored."""
        return self._slots.count(start, stop)

    def rows(self, numbers: np.ndarray) -> np.ndarray:
        """Slots (m,) of the stored prompts `numbers` (m,)."""
        return self._slots.rows(numbers)

    def blocks(self, start: int, stop: int, gone: np.ndarray) -> Iterator[Block]:
        """Everything stored of [start, stop) but `gone` (g,), in blocks of slots."""
        return self._slots.blocks(start, stop, gone)

    def freeze(self) -> dict[str, np.ndarray]:
        """The prompts' numbers, slots, units and last writes; their embeddings are frozen by the memory."""
        numbers, units, written = self.tallies()
        return {"numbers": numbers, "slots": self._slots.rows(numbers), "units": units, "written": written}

    def restore(self, frozen: dict[str, np.ndarray]) -> None:
        """Become what `freeze` saw; the memory has set `tail` and the embeddings."""
        slots = frozen["slots"]
        used = int(slots.max(initial=-1)) + 1
        self.units, self.written = np.zeros(used, np.int64), np.zeros(used, np.int64)
        self.units[slots], self.written[slots] = frozen["units"], frozen["written"]
        self._slots = CompletionIndex(self.vectors, self.margin)
        self._slots.append(frozen["numbers"], slots)
        self._free = np.setdiff1d(np.arange(used), slots)[::-1].tolist()

    def _grow(self) -> None:
        """Add free slots: an eighth of the slots there are."""
        used, more = len(self.units), max(1024, len(self.units) // 8)
        self.units = np.concatenate([self.units, np.zeros(more, np.int64)])
        self.written = np.concatenate([self.written, np.zeros(more, np.int64)])
        self._free = list(range(used + more - 1, used - 1, -1))
