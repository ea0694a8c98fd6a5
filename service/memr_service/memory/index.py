"""Which stored prompts are nearest: exact over the newest, HNSW graphs over the rest (Malkov and Yashunin 2018).

Prompts leave in the order they came (FIFO), so they are numbered 0, 1, 2, ... for ever and those stored are the range
[head, tail). Graphs cover [graphs[0].start, indexed); what came later is searched exactly. A graph is built once, by
one thread, from one range in order, and never changes but for prompts marked as gone: it is a function of its range,
so two processes that swap it in at the same record answer alike. When the exact part has grown, the next graph takes
it over together with every smaller neighbour, as a binary counter carries: about log2(N / step) graphs at any time.
"""

from __future__ import annotations

import os
import zlib
from dataclasses import dataclass
from pathlib import Path

import hnswlib
import numpy as np

from memr_service.memory.rows import Rows

CROSSOVER = 32_768
"""Prompts up to which exact search alone is used: below, it costs less than a few per cent of encoding a group."""
STEP = 8_192
"""Prompts the exact part may gather beside the graphs before a further graph is built."""
MARGINS = {"float32": 1e-5, "float16": 1e-3}
"""More than a float32 product of stored vectors can differ from their cosine; candidates within it are compared in
float64. Vectors rounded to float16 are not quite of unit length, hence the larger one."""


@dataclass(frozen=True)
class Graph:
    """An HNSW graph over the prompts [start, stop)."""

    start: int
    stop: int
    hnsw: hnswlib.Index


def build(vectors: np.ndarray, start: int, stop: int, seed: int) -> Graph:
    """A graph over [start, stop); `vectors` (m, d) are those of its last m prompts, the others being gone already."""
    hnsw = hnswlib.Index(space="ip", dim=vectors.shape[1])
    hnsw.init_index(max_elements=max(1, len(vectors)), M=16, ef_construction=200, random_seed=seed % 2**31)
    if len(vectors):
        hnsw.add_items(vectors, np.arange(stop - len(vectors), stop), num_threads=1)
    return Graph(start, stop, hnsw)


class PromptIndex:
    """The embeddings of the prompts [head, tail) and a search over them."""

    def __init__(
        self,
        dimension: int,
        capacity: int,
        margin: float = MARGINS["float32"],
        *,
        crossover: int = CROSSOVER,
        step: int = STEP,
    ) -> None:
        self.dimension = dimension
        self.capacity = capacity
        self.head = 0
        self.tail = 0
        self.graphs: list[Graph] = []
        self.vectors = Rows(dimension)
        self._margin = margin
        self._crossover = crossover
        self._step = step

    @property
    def indexed(self) -> int:
        """The first prompt that no graph covers."""
        return max(self.head, self.graphs[-1].stop) if self.graphs else self.head

    def append(self, vector: np.ndarray) -> None:
        """Store the embedding (d,) of the prompt numbered `tail`."""
        self.vectors.write(np.array([self.tail % self.capacity]), vector[None])
        self.tail += 1

    def drop_first(self) -> None:
        """Forget the prompt numbered `head`."""
        graph = self.graphs[0] if self.graphs else None
        if graph and graph.start <= self.head < graph.stop and self.head in self._labels(graph):
            graph.hnsw.mark_deleted(self.head)
        self.head += 1
        if graph and graph.stop <= self.head:
            self.graphs.pop(0)

    def take(self, prompts: np.ndarray) -> np.ndarray:
        """Embeddings (m, d) of the stored prompts numbered `prompts` (m,)."""
        return self.vectors.take(prompts % self.capacity)

    def candidates(self, queries: np.ndarray, k: int, head: int) -> list[np.ndarray]:
        """For each query (u, d): prompts of [head, tail) that hold the k nearest (those in graphs: very likely)."""
        found: list[list[np.ndarray]] = [[] for _ in queries]
        exact_from = max(head, self.indexed)
        for graph in self.graphs:
            if not self._search(graph, queries, k, head, found):
                self._scan(max(head, graph.start), graph.stop, queries, k, found)
        self._scan(exact_from, self.tail, queries, k, found)
        return [np.concatenate(parts) if parts else np.empty(0, np.int64) for parts in found]

    def next_graph(self) -> tuple[int, int] | None:
        """The range the next graph should cover, once the exact part is long enough for one."""
        waiting = self.tail - self.indexed
        if waiting < (self._step if self.graphs else self._crossover):
            return None
        start, stop = self.indexed, self.tail
        for graph in reversed(self.graphs):
            if graph.stop - max(graph.start, self.head) > stop - start:
                break
            start = max(graph.start, self.head)
        return start, stop

    def copy_range(self, start: int, stop: int) -> np.ndarray:
        """Embeddings (m, d) of those prompts of [start, stop) that are still stored."""
        return self.take(np.arange(max(start, self.head), stop))

    def swap(self, graph: Graph) -> None:
        """Take a graph into use in place of those its range covers."""
        for gone in self._labels(graph):
            if gone < self.head:
                graph.hnsw.mark_deleted(gone)
        kept = [other for other in self.graphs if other.stop <= graph.start or other.start >= graph.stop]
        self.graphs = sorted([*kept, graph], key=lambda one: one.start) if graph.stop > self.head else kept

    def _search(self, graph: Graph, queries: np.ndarray, k: int, head: int, found: list[list[np.ndarray]]) -> bool:
        """Look in a graph for k prompts from `head` on; False where it cannot answer."""
        first = max(graph.start, self.head)
        gone = max(0, head - first)
        if graph.stop - first - gone < k:
            return False
        ef = max(200, 10 * k)
        graph.hnsw.set_ef(ef)
        try:
            labels, _ = graph.hnsw.knn_query(queries, k=min(k + gone, ef), num_threads=1)
        except RuntimeError:  # hnswlib's way of saying that it found fewer
            return False
        rows = [row[row >= head][:k] for row in labels.astype(np.int64)]
        if any(len(row) < k for row in rows):
            return False
        for parts, row in zip(found, rows, strict=True):
            parts.append(row)
        return True

    def _scan(self, start: int, stop: int, queries: np.ndarray, k: int, found: list[list[np.ndarray]]) -> None:
        """Look at every prompt of [start, stop)."""
        if start >= stop:
            return
        cosines = np.concatenate([queries @ block.T for block in self._blocks(start, stop)], axis=1)
        count = cosines.shape[1]
        if count > k:
            floor = np.partition(cosines, count - k, axis=1)[:, count - k] - self._margin
        else:
            floor = np.full(len(queries), -np.inf)
        for parts, row, least in zip(found, cosines, floor, strict=True):
            parts.append(np.flatnonzero(row >= least) + start)

    def _blocks(self, start: int, stop: int) -> list[np.ndarray]:
        """Embeddings of [start, stop) as slices; the ring may wrap once."""
        first, count = start % self.capacity, stop - start
        until = min(first + count, self.capacity)
        spans = [*self.vectors.spans(first, until), *self.vectors.spans(0, first + count - until)]
        return [block for _, block in spans]

    def _labels(self, graph: Graph) -> range:
        """The prompts a graph really holds: the last ones of its range."""
        return range(graph.stop - graph.hnsw.get_current_count(), graph.stop)

    def save(self, graph: Graph, file: Path) -> None:
        """Keep a graph in a file, with its checksum beside it; without that the file counts for nothing.

        Both are on disk when this returns: prompts that leave later cannot be put into the graph once more.
        """
        _sum_file(file).unlink(missing_ok=True)
        graph.hnsw.save_index(str(file))
        _sum_file(file).write_text(_checksum(file))
        for written in (file, _sum_file(file)):
            with written.open("rb") as opened:
                os.fsync(opened.fileno())

    def load(self, start: int, stop: int, file: Path) -> Graph | None:
        """A graph from its file, or None where the file is not there, not whole, or of other prompts.

        Another branch of the run's history may have left a file of that name.
        """
        try:
            if _sum_file(file).read_bytes() != _checksum(file).encode():
                return None
        except FileNotFoundError:
            return None
        hnsw = hnswlib.Index(space="ip", dim=self.dimension)
        hnsw.load_index(str(file))
        first = max(start, self.head)
        held = range(stop - hnsw.get_current_count(), stop)
        if not start <= held.start <= first or sorted(hnsw.get_ids_list()) != list(held):
            return None
        stored = np.arange(first, stop)
        same = np.array_equal(hnsw.get_items(stored, return_type="numpy"), self.take(stored))
        return Graph(start, stop, hnsw) if same else None


def _sum_file(file: Path) -> Path:
    return file.with_suffix(".crc32")


def _checksum(file: Path) -> str:
    """CRC-32 of a file, in hex: hnswlib reads whatever it is given, and searches beyond its memory."""
    crc = 0
    with file.open("rb") as opened:
        while block := opened.read(1 << 20):
            crc = zlib.crc32(block, crc)
    return f"{crc:08x}"
