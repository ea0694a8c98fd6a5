"""The completions of a memory, to find the nearest of them whatever their prompt."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from memr_service.memory.index import MARGINS, Index
from memr_service.memory.vector_blocks import VectorBlocks

CROSSOVER = 32_768
"""Completions up to which exact search alone is used: for a hundred at once a graph is quicker from there on."""
STEP = 8_192
"""Completions the exact part may gather beside the graphs before a further graph is built."""


class CompletionIndex(Index):
    """Completions by serial number, which grows as they come; any of them may leave. Vectors are a memory's rows."""

    effort = (128, 4)

    def __init__(
        self, vectors: VectorBlocks, margin: float = MARGINS["float32"], *, crossover: int = CROSSOVER, step: int = STEP
    ) -> None:
        super().__init__(vectors.dimension, margin, crossover, step)
        self.vectors = vectors
        self._used = 0
        self._numbers = np.empty(0, np.int64)  # the first `_used` of them ascend
        self._rows = np.empty(0, np.int64)  # -1 of what left

    def append(self, numbers: np.ndarray, rows: np.ndarray) -> None:
        """Take in the completions `numbers` (m,), ascending and from `tail` on, which lie at `rows` (m,)."""
        if self._used + len(numbers) > len(self._numbers):
            self._make_room(len(numbers))
        here = slice(self._used, self._used + len(numbers))
        self._numbers[here], self._rows[here] = numbers, rows
        self._used = here.stop
        self.tail = int(numbers[-1]) + 1 if len(numbers) else self.tail

    def drop(self, numbers: np.ndarray) -> None:
        """Forget the stored completions `numbers` (m,)."""
        self._rows[self._places(numbers)] = -1
        self._forget(numbers)

    def rows(self, numbers: np.ndarray) -> np.ndarray:
        """Where the stored completions `numbers` (m,) lie (m,)."""
        return np.asarray(self._rows[self._places(numbers)])

    def stored(self, start: int, stop: int) -> np.ndarray:
        """Numbers (m,) of [start, stop) that are stored, ascending."""
        here = self._between(start, stop)
        return np.asarray(self._numbers[here][self._rows[here] >= 0])

    def count(self, start: int, stop: int) -> int:
        """How many of [start, stop) are stored."""
        return int(np.count_nonzero(self._rows[self._between(start, stop)] >= 0))

    def pieces(self, start: int, stop: int, gone: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """All that is stored of [start, stop) but `gone` (g,), block by block of the rows."""
        numbers = np.setdiff1d(self.stored(start, stop), gone, assume_unique=True)
        rows = self.rows(numbers)
        order = np.argsort(rows)
        numbers, rows = numbers[order], rows[order]
        for here, vectors in self.vectors.pieces(rows):
            yield numbers[here], vectors

    def _places(self, numbers: np.ndarray) -> np.ndarray:
        return np.searchsorted(self._numbers[: self._used], numbers)

    def _between(self, start: int, stop: int) -> slice:
        return slice(*self._places(np.array([start, stop])).tolist())

    def _make_room(self, more: int) -> None:
        """Forget the places of what left, and double those that are needed."""
        kept = self._rows[: self._used] >= 0
        numbers, rows = self._numbers[: self._used][kept], self._rows[: self._used][kept]
        self._used = len(numbers)
        self._numbers, self._rows = np.empty((2, 2 * (self._used + more)), np.int64)
        self._numbers[: self._used], self._rows[: self._used] = numbers, rows
