"""The prompts of a memory, and a search for the nearest."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from memr_service.memory.index import MARGINS, Block, GraphSizes, Index
from memr_service.memory.vector_blocks import VectorBlocks

SIZES = GraphSizes(crossover=16_384, step=4_096)
"""For a few queries at once a graph is quicker than exact search from about here on."""


class PromptIndex(Index):
    """The embeddings of prompts, which leave in the order they came: those stored are the range [head, tail)."""

    effort = (200, 10)

    def __init__(
        self,
        dimension: int,
        capacity: int,
        margin: float = MARGINS["float32"],
        graph_sizes: GraphSizes | None = None,
    ) -> None:
        super().__init__(dimension, margin, graph_sizes or SIZES)
        self.capacity = capacity
        self.vectors = VectorBlocks(dimension)

    def append(self, vector: np.ndarray) -> None:
        """Store the embedding (d,) of the prompt numbered `tail`."""
        self.vectors.put(self.tail % self.capacity, vector)
        self.tail += 1

    def drop_first(self) -> None:
        """Remove the prompt numbered `head`."""
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
        """Rows (m,) of the stored prompts `numbers` (m,)."""
        return numbers % self.capacity

    def blocks(self, start: int, stop: int, gone: np.ndarray) -> Iterator[Block]:
        """Everything stored of [start, stop) but `gone`, the oldest (g,): slices of a ring that may wrap once."""
        start = max(start, self.head + len(gone))
        while start < stop:
            first = start % self.capacity
            for _, vectors in self.vectors.slices(first, min(first + stop - start, self.capacity)):
                yield np.arange(start, start + len(vectors)), vectors
                start += len(vectors)
