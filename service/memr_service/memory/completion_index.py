"""The completions of a memory, and a search for the nearest, whatever their prompt."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from memr_service.memory.index import MARGINS, Block, GraphSizes, Index
from memr_service.memory.vector_blocks import VectorBlocks

SIZES = GraphSizes(crossover=32_768, step=8_192)
"""For a hundred queries at once a graph is quicker than exact search from about here on."""


class CompletionIndex(Index):
    """Completions by serial number, in which they come; any of them may leave. The vectors are a memory's rows."""

    effort = (128, 4)

    def __init__(
        self, vectors: VectorBlocks, margin: float = MARGINS["float32"], graph_sizes: GraphSizes | None = None
    ) -> None:
        super().__init__(vectors.dimension, margin, graph_sizes or SIZES)
        self.vectors = vectors
        self._used = 0
        self._numbers = np.empty(0, np.int64)  # the first `_used` of them ascend
        self._rows = np.empty(0, np.int64)  # -1 for completions that have left

    def append(self, numbers: np.ndarray, rows: np.ndarray) -> None:
        """Add the completions `numbers` (m,), ascending and from `tail` on, whose vectors are at `rows` (m,)."""
        if self._used + len(numbers) > len(self._numbers):
            self._make_room(len(numbers))
        here = slice(self._used, self._used + len(numbers))
        self._numbers[here], self._rows[here] = numbers, rows
        self._used = here.stop
        self.tail = int(numbers[-1]) + 1 if len(numbers) else self.tail

    def drop(self, numbers: np.ndarray) -> None:
        """Remove the stored completions `numbers` (m,)."""
        self._rows[self._positions(numbers)] = -1
        self._forget(numbers)

    def rows(self, numbers: np.ndarray) -> np.ndarray:
        """Rows (m,) of the stored completions `numbers` (m,)."""
        return np.asarray(self._rows[self._positions(numbers)])

    def stored(self, start: int, stop: int) -> np.ndarray:
        """Numbers (m,) of [start, stop) that are stored, ascending."""
        here = self._between(start, stop)
        return np.asarray(self._numbers[here][self._rows[here] >= 0])

    def count(self, start: int, stop: int) -> int:
        """How many of [start, stop) are stored."""
        return int(np.count_nonzero(self._rows[self._between(start, stop)] >= 0))

    def blocks(self, start: int, stop: int, gone: np.ndarray) -> Iterator[Block]:
        """Everything stored of [start, stop) but `gone` (g,), in blocks of rows."""
        numbers = np.setdiff1d(self.stored(start, stop), gone, assume_unique=True)
        rows = self.rows(numbers)
        order = np.argsort(rows)
        numbers, rows = numbers[order], rows[order]
        for here, vectors in self.vectors.by_block(rows):
            yield numbers[here], vectors

    def _positions(self, numbers: np.ndarray) -> np.ndarray:
        return np.searchsorted(self._numbers[: self._used], numbers)

    def _between(self, start: int, stop: int) -> slice:
        return slice(*self._positions(np.array([start, stop])).tolist())

    def _make_room(self, more: int) -> None:
        """Give up the positions of completions that have left, and make room for twice as many as are needed."""
        kept = self._rows[: self._used] >= 0
        numbers, rows = self._numbers[: self._used][kept], self._rows[: self._used][kept]
        self._used = len(numbers)
        self._numbers, self._rows = np.empty((2, 2 * (self._used + more)), np.int64)
        self._numbers[: self._used], self._rows[: self._used] = numbers, rows
