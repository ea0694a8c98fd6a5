"""A vector index: exact search over the newest vectors, HNSW graphs over the rest.

Vectors are numbered in the order in which they come, and may leave. Graphs cover numbers up to `indexed`, in ranges
that do not overlap; later vectors are searched exactly. A graph is built once, by one thread, from the stored vectors
of its range; afterwards vectors are only marked as gone. So two processes that take it into use at the same record give
the same results. When the exact part has grown, the next graph covers it together with every neighbouring graph that is
not much larger: a million vectors have two to four graphs, and each vector was put into a graph about ten times.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np

from memr_service.memory.hnsw import Found, Graph, VectorRange, joined
from memr_service.memory.vector_blocks import VectorBlocks

Block = tuple[np.ndarray, np.ndarray]
"""Numbers (m,) and their vectors (m, d)."""

RATIO = 4
"""The next graph also covers a neighbouring graph, unless that is more than so many times larger."""
SMALL = 8
"""A graph is small if the largest has more than so many times its vectors."""
FEW = 4
"""For up to so many nearest, finding the largest value repeatedly is quicker than a partition."""
MARGINS = {"float32": 1e-5, "float16": 1e-3}
"""More than a float32 product of stored vectors can differ from their cosine; candidates within it are compared in
float64. It is larger for float16, since rounded vectors are not quite of unit length."""


@dataclass(frozen=True)
class GraphSizes:
    """When an index gets graphs."""

    crossover: int
    """Vectors up to which exact search alone is used."""
    step: int
    """Vectors that are searched exactly beside graphs before another graph is built."""


class Index(ABC):
    """Numbered vectors and a search over them.

    Attributes:
        head: no smaller number is stored.
        tail: every stored number is smaller.
        effort: (least, per neighbour asked for): how many vectors a search in a graph keeps in view.
        vectors: the vectors, by row.
    """

    effort: tuple[int, int]
    vectors: VectorBlocks

    def __init__(self, dimension: int, margin: float, sizes: GraphSizes) -> None:
        self.dimension = dimension
        self.margin = margin
        self.head = 0
        self.tail = 0
        self.graphs: list[Graph] = []
        self._sizes = sizes

    @abstractmethod
    def stored(self, start: int, stop: int) -> np.ndarray:
        """Numbers (m,) of [start, stop) that are stored, ascending."""

    @abstractmethod
    def count(self, start: int, stop: int) -> int:
        """How many of [start, stop) are stored."""

    @abstractmethod
    def rows(self, numbers: np.ndarray) -> np.ndarray:
        """Rows (m,) of the stored `numbers` (m,)."""

    @abstractmethod
    def blocks(self, start: int, stop: int, gone: np.ndarray) -> Iterator[Block]:
        """Everything stored of [start, stop) but `gone` (g,)."""

    def take(self, numbers: np.ndarray) -> np.ndarray:
        """Vectors (m, d) of the stored `numbers` (m,)."""
        return self.vectors.take(self.rows(numbers))

    @property
    def indexed(self) -> int:
        """The first number that no graph covers."""
        return max(self.head, self.graphs[-1].stop) if self.graphs else self.head

    def candidates(
        self, queries: np.ndarray, k: int, gone: np.ndarray, coming: Sequence[Block] = ()
    ) -> list[np.ndarray]:
        """For each query (u, d): numbers among which are the k nearest (with graphs: very likely).

        Args:
            gone: stored numbers (g,) that are about to leave, ascending: they are not found.
            coming: vectors that are about to be stored: they are found.
        """
        found, most = [], max((graph.live for graph in self.graphs), default=0)
        for graph in self.graphs:
            inside = self._search(graph, queries, k, gone, is_small=SMALL * graph.live < most)
            found += self._scan(self.blocks(graph.start, graph.stop, gone), queries, k) if inside is None else [inside]
        found += self._scan(chain(self.blocks(self.indexed, self.tail, gone), coming), queries, k)
        return self._nearest(found, len(queries), k)

    def next_graph(self) -> tuple[int, int] | None:
        """The range that the next graph should cover; None if the exact part is not long enough for one."""
        waiting = self.count(self.indexed, self.tail)
        if waiting < (self._sizes.step if self.graphs else self._sizes.crossover):
            return None
        start, stop = self.indexed, self.tail
        for graph in reversed(self.graphs):
            if graph.live > RATIO * waiting:
                break
            start = max(graph.start, self.head)
            waiting += graph.live
        return start, stop

    def vector_range(self, start: int, stop: int) -> VectorRange:
        """The vectors of [start, stop) that are stored now, whatever happens to them later. Nothing is copied here."""
        numbers = self.stored(start, stop)
        return VectorRange(start, stop, numbers, self.vectors.shared(), self.rows(numbers), self.margin)

    def swap(self, graph: Graph) -> None:
        """Take a graph into use, in place of those that its range covers."""
        here = np.isin(graph.numbers, self.stored(graph.start, graph.stop), assume_unique=True)
        graph.forget(graph.numbers[~here])
        kept = [other for other in self.graphs if other.stop <= graph.start or other.start >= graph.stop]
        self.graphs = sorted([*kept, graph], key=lambda one: one.start) if graph.live else kept

    def load(self, start: int, stop: int, file: Path) -> Graph | None:
        """A graph from its file; None if the file does not exist, is damaged, or has other vectors.

        Another branch of the run's history may have left a file of that name.
        """
        graph = Graph.load(start, stop, self.dimension, file)
        if graph is None or ((graph.numbers < start) | (graph.numbers >= stop)).any():
            return None
        everything = self.blocks(start, stop, np.empty(0, np.int64))
        return graph if all(graph.built_from(*block) for block in everything) else None

    def _forget(self, numbers: np.ndarray) -> None:
        """Mark `numbers` (m,) as gone in every graph, and drop graphs in which nothing is left."""
        for graph in self.graphs:
            graph.forget(numbers)
        self.graphs = [graph for graph in self.graphs if graph.live]

    def _search(self, graph: Graph, queries: np.ndarray, k: int, gone: np.ndarray, *, is_small: bool) -> Found | None:
        """Search a graph for k vectors that stay, ignoring those about to leave; None if it does not find so many.

        A small one, which rarely has what is nearest of all, is searched with half the effort.
        """
        leaving = gone[graph.holds(gone)]
        least, per_neighbour = self.effort
        if graph.live - len(leaving) < k:
            return None
        effort = max(least, per_neighbour * k)
        return graph.search(queries, k, effort // 2 if is_small else effort, leaving)

    def _scan(self, blocks: Iterable[Block], queries: np.ndarray, k: int) -> list[Found]:
        """Compare the queries with every vector of some blocks: what may be nearest, block by block."""
        found = []
        for numbers, vectors in blocks:
            cosines = queries @ vectors.T
            query, column = np.nonzero(nearest(cosines, k, self.margin))
            found.append((query, numbers[column], cosines[query, column]))
        return found

    def _nearest(self, found: list[Found], queries: int, k: int) -> list[np.ndarray]:
        """For each of so many queries the numbers found that may be among its k nearest."""
        if not found:
            return [np.empty(0, np.int64)] * queries
        query, number, cosine = joined(found)
        order = np.lexsort((-cosine, query))
        query, number, cosine = query[order], number[order], cosine[order]
        ends = np.searchsorted(query, np.arange(queries), side="right")
        begins = np.append(0, ends[:-1])
        enough = ends - begins > k
        least = np.full(queries, -np.inf, np.float32)
        least[enough] = cosine[begins[enough] + k - 1] - self.margin
        kept = cosine >= least[query]
        return np.split(number[kept], np.cumsum(np.bincount(query[kept], minlength=queries))[:-1])


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
