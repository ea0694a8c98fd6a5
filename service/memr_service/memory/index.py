"""Which stored vectors are nearest: exact over the newest, HNSW graphs over the rest.

What is stored is numbered in the order in which it came and may leave. Graphs cover numbers up to `indexed`, in ranges
that do not overlap; what came later is searched exactly. A graph is built once, by one thread, from what is stored of
its range, and never changes but for what is marked as gone: two processes that swap it in at the same record answer
alike. When the exact part has grown, the next graph takes it over together with every neighbour that is not much
larger: two to four graphs for a million vectors, each of which was put into a graph about ten times.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path

import numpy as np

from memr_service.memory.hnsw import Found, Graph, VectorRange
from memr_service.memory.vector_blocks import VectorBlocks

Piece = tuple[np.ndarray, np.ndarray]
"""Numbers (m,) and their vectors (m, d)."""

RATIO = 4
"""A graph is taken over by the next one unless it is more than so many times larger."""
FEW = 4
"""Up to so many nearest it is quicker to look for the largest again and again than to partition."""
MARGINS = {"float32": 1e-5, "float16": 1e-3}
"""More than a float32 product of stored vectors can differ from their cosine; candidates within it are compared in
float64. Vectors rounded to float16 are not quite of unit length, hence the larger one."""


class Index(ABC):
    """Numbered vectors and a search over them.

    Attributes:
        head: no smaller number is stored.
        tail: every number stored is smaller.
        effort: (least, per neighbour asked for): how many vectors a graph keeps in view while it is searched.
        vectors: where they lie.
    """

    effort: tuple[int, int]
    vectors: VectorBlocks

    def __init__(self, dimension: int, margin: float, crossover: int, step: int) -> None:
        self.dimension = dimension
        self.margin = margin
        self.head = 0
        self.tail = 0
        self.graphs: list[Graph] = []
        self._crossover = crossover
        self._step = step

    @abstractmethod
    def stored(self, start: int, stop: int) -> np.ndarray:
        """Numbers (m,) of [start, stop) that are stored, ascending."""

    @abstractmethod
    def count(self, start: int, stop: int) -> int:
        """How many of [start, stop) are stored."""

    @abstractmethod
    def rows(self, numbers: np.ndarray) -> np.ndarray:
        """Where the stored `numbers` (m,) lie (m,)."""

    @abstractmethod
    def pieces(self, start: int, stop: int, gone: np.ndarray) -> Iterator[Piece]:
        """All that is stored of [start, stop) but `gone` (g,)."""

    def take(self, numbers: np.ndarray) -> np.ndarray:
        """Vectors (m, d) of the stored `numbers` (m,)."""
        return self.vectors.take(self.rows(numbers))

    @property
    def indexed(self) -> int:
        """The first number that no graph covers."""
        return max(self.head, self.graphs[-1].stop) if self.graphs else self.head

    def candidates(
        self, queries: np.ndarray, k: int, gone: np.ndarray, coming: Sequence[Piece] = ()
    ) -> list[np.ndarray]:
        """For each query (u, d): numbers that hold the k nearest stored (those in graphs: very likely).

        Args:
            gone: stored numbers (g,) that are about to leave, ascending: they are not found.
            coming: what is about to be stored: it is.
        """
        places = [
            self._search(graph, queries, k, gone) or self._scan(self.pieces(graph.start, graph.stop, gone), queries, k)
            for graph in self.graphs
        ]
        places.append(self._scan(chain(self.pieces(self.indexed, self.tail, gone), coming), queries, k))
        return [self._nearest(parts, k) for parts in zip(*places, strict=True)]

    def next_graph(self) -> tuple[int, int] | None:
        """The range the next graph should cover, once the exact part is long enough for one."""
        waiting = self.count(self.indexed, self.tail)
        if waiting < (self._step if self.graphs else self._crossover):
            return None
        start, stop = self.indexed, self.tail
        for graph in reversed(self.graphs):
            if graph.live > RATIO * waiting:
                break
            start = max(graph.start, self.head)
            waiting += graph.live
        return start, stop

    def stretch(self, start: int, stop: int) -> VectorRange:
        """What is stored of [start, stop) now, whatever becomes of it. Nothing is copied here."""
        numbers = self.stored(start, stop)
        return VectorRange(start, stop, numbers, self.vectors.shown(), self.rows(numbers), self.margin)

    def swap(self, graph: Graph) -> None:
        """Take a graph into use in place of those its range covers."""
        here = np.isin(graph.numbers, self.stored(graph.start, graph.stop), assume_unique=True)
        graph.forget(graph.numbers[~here])
        kept = [other for other in self.graphs if other.stop <= graph.start or other.start >= graph.stop]
        self.graphs = sorted([*kept, graph], key=lambda one: one.start) if graph.live else kept

    def load(self, start: int, stop: int, file: Path) -> Graph | None:
        """A graph from its file, or None where the file is not there, not whole, or of other vectors.

        Another branch of the run's history may have left a file of that name.
        """
        graph = Graph.load(start, stop, self.dimension, file)
        if graph is None or ((graph.numbers < start) | (graph.numbers >= stop)).any():
            return None
        everything = self.pieces(start, stop, np.empty(0, np.int64))
        return graph if all(graph.built_from(*piece) for piece in everything) else None

    def _forget(self, numbers: np.ndarray) -> None:
        """Mark `numbers` (m,) as gone wherever they are; a graph of which nothing is left is given up."""
        for graph in self.graphs:
            graph.forget(numbers)
        self.graphs = [graph for graph in self.graphs if graph.live]

    def _search(self, graph: Graph, queries: np.ndarray, k: int, gone: np.ndarray) -> Found:
        """Look in a graph for k that stay, past those that are about to leave; nothing where it cannot answer."""
        leaving = gone[graph.holds(gone)]
        least, per_neighbour = self.effort
        if graph.live - len(leaving) < k:
            return []
        return graph.search(queries, k, max(least, per_neighbour * k), leaving)

    def _scan(self, pieces: Iterable[Piece], queries: np.ndarray, k: int) -> Found:
        """Look at everything there is in some pieces."""
        seen = [(numbers, vectors @ queries.T) for numbers, vectors in pieces]
        if not seen:
            return [(np.empty(0, np.int64), np.empty(0, np.float32))] * len(queries)
        numbers = np.concatenate([one for one, _ in seen])
        cosines = np.ascontiguousarray(np.concatenate([one for _, one in seen]).T)
        query, place = np.nonzero(nearest(cosines, k, self.margin))
        begins = np.searchsorted(query, np.arange(len(queries)))
        found = np.split(numbers[place], begins)[1:], np.split(cosines[query, place], begins)[1:]
        return [*zip(*found, strict=True)]

    def _nearest(self, parts: tuple[tuple[np.ndarray, np.ndarray], ...], k: int) -> np.ndarray:
        """Of what was found in several places the numbers that may be among the k nearest."""
        if len(parts) == 1:
            return parts[0][0]
        numbers = np.concatenate([one for one, _ in parts])
        return np.asarray(numbers[nearest(np.concatenate([one for _, one in parts]), k, self.margin)])


def nearest(cosines: np.ndarray, k: int, margin: float) -> np.ndarray:
    """Which of `cosines` (..., m) are the k largest of their row, or within `margin` of those."""
    least = cosines.shape[-1] - k
    if least <= 0:
        return np.ones(cosines.shape, bool)
    return np.asarray(cosines >= (_kth_largest(cosines, k) - margin)[..., None])


def _kth_largest(cosines: np.ndarray, k: int) -> np.ndarray:
    """The k-th largest of each row of `cosines` (..., m)."""
    if k > FEW:
        least = cosines.shape[-1] - k
        return np.asarray(np.partition(cosines, least, axis=-1)[..., least])
    rest = cosines.copy() if k > 1 else cosines
    for _ in range(k - 1):
        np.put_along_axis(rest, rest.argmax(axis=-1, keepdims=True), -np.inf, axis=-1)
    return np.asarray(rest.max(axis=-1))
