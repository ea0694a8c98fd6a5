"""The prompts of a memory, to find the nearest of them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from memr_service.memory.index import MARGINS, Index
from memr_service.memory.vector_blocks import VectorBlocks

CROSSOVER = 16_384
"""Prompts up to which exact search alone is used: for a few at once a graph is quicker from there on."""
STEP = 4_096
"""Prompts the exact part may gather beside the graphs before a further graph is built."""


class PromptIndex(Index):
    """The embeddings of prompts, which leave in the order they came (FIFO): those stored are the range [head, tail)."""

    effort = (200, 10)

    def __init__(
        self,
        dimension: int,
        capacity: int,
        margin: float = MARGINS["float32"],
        *,
        crossover: int = CROSSOVER,
        step: int = STEP,
    ) -> None:
        super().__init__(dimension, margin, crossover, step)
        self.capacity = capacity
        self.vectors = VectorBlocks(dimension)

    def append(self, vector: np.ndarray) -> None:
        """Store the embedding (d,) of the prompt numbered `tail`."""
        self.vectors.put(self.tail % self.capacity, vector)
        self.tail += 1

    def drop_first(self) -> None:
        """Forget the prompt numbered `head`."""
        if self.graphs:
            self._forget(np.array([self.head]))
        self.head += 1

    def stored(self, start: int, stop: int) -> np.ndarray:
        """Numbers (m,) of [start, stop) that are stored, ascending."""
        return np.arange(max(start, self.head), stop)

    def count(self, start: int, stop: int) -> int:
        """How many of [start, stop) are stored."""
        return max(0, stop - max(start, self.head))

    def rows(self, numbers: np.ndarray) -> np.ndarray:
        """Where the stored prompts `numbers` (m,) lie (m,)."""
        return numbers % self.capacity

    def pieces(self, start: int, stop: int, gone: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """All that is stored of [start, stop) but `gone`, the oldest (g,): slices of a ring that may wrap once."""
        start = max(start, self.head + len(gone))
        while start < stop:
            first = start % self.capacity
            for _, vectors in self.vectors.spans(first, min(first + stop - start, self.capacity)):
                yield np.arange(start, start + len(vectors)), vectors
                start += len(vectors)
