"""One HNSW graph over numbered vectors (Malkov and Yashunin 2018), and its files.

Vectors that are almost equal share a point. Otherwise a few hundred copies of one text, as a policy makes them that
repeats itself, would have only each other as neighbours, and form an island that no search leaves.
"""

from __future__ import annotations

import os
import zlib
from concurrent.futures import CancelledError, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from threading import Event

import hnswlib
import numpy as np

from memr_service.memory.vector_blocks import VectorBlocks

CHUNK = 256
"""Vectors put into a graph at once."""
PART_BYTES = 64 << 20
"""Bytes of a file that have a checksum of their own, so that several cores share the work of a large file."""
SPARE = 16
"""Neighbours found beyond those asked for: cosines in float64 may order them otherwise than the graph did."""

Found = tuple[np.ndarray, np.ndarray, np.ndarray]
"""What a search found for several queries: the query, a number found for it, and its cosine in float32 (each (f,))."""


@dataclass(frozen=True)
class VectorRange:
    """What a graph is built from: `numbers` (m,) in [start, stop), ascending, whose vectors are at `rows` (m,).

    Vectors whose distance is at most `margin` share a point.
    """

    start: int
    stop: int
    numbers: np.ndarray
    stored: VectorBlocks
    rows: np.ndarray
    margin: float

    @cached_property
    def vectors(self) -> np.ndarray:
        """The vectors (m, d): copied when they are first asked for, by the thread that builds."""
        return self.stored.take(self.rows)


class Graph:
    """A graph over the vectors of [start, stop) that were stored when it was begun. Later they are only marked as gone.

    Attributes:
        numbers: of all its vectors (m,), ascending.
        live: how many of them are not gone.
    """

    def __init__(
        self, start: int, stop: int, hnsw: hnswlib.Index, numbers: np.ndarray, points: np.ndarray, prints: np.ndarray
    ) -> None:
        """`points` (m,): the point of each of `numbers` (m,), named by the first number there. `prints` (m,):
        `fingerprints` of their vectors."""
        self.start = start
        self.stop = stop
        self.numbers = numbers
        self.live = len(numbers)
        self._hnsw = hnsw
        self._points = points
        self._prints = prints
        self._live_points = hnsw.get_current_count()
        self._together: dict[int, dict[int, None]] = {}
        """Point -> the numbers there that are not gone, ascending, for points that several numbers share."""
        self._shared = np.unique(points[points != numbers])
        shared = np.isin(points, self._shared)
        for number, point in zip(numbers[shared].tolist(), points[shared].tolist(), strict=True):
            self._together.setdefault(point, {})[number] = None

    def holds(self, numbers: np.ndarray) -> np.ndarray:
        """Which of `numbers` (m,) are in the graph, gone or not."""
        return _among(self.numbers, numbers)

    def built_from(self, numbers: np.ndarray, vectors: np.ndarray) -> bool:
        """Whether these vectors (m, d), under these numbers (m,), are among those that it was built from."""
        known = self._prints.take(np.searchsorted(self.numbers, numbers), mode="clip")
        return bool(self.holds(numbers).all() and (known == fingerprints(vectors)).all())

    def forget(self, numbers: np.ndarray) -> None:
        """Mark those of `numbers` that it holds as gone: searches ignore them. A number may be marked only once."""
        here = numbers[self.holds(numbers)]
        points = self._points[np.searchsorted(self.numbers, here)]
        for number, point in zip(here.tolist(), points.tolist(), strict=True):
            left = self._together.get(point, {number: None})
            del left[number]
            if not left:
                self._hnsw.mark_deleted(point)
                self._live_points -= 1
        self.live -= len(here)

    def search(self, queries: np.ndarray, k: int, ef: int, leaving: np.ndarray) -> Found | None:
        """For each query (u, d) the k nearest and some more, without those about to leave; None if it finds fewer.

        Args:
            ef: how many points a search keeps in view.
            leaving: numbers that it holds (l,), none of them gone.
        """
        self._hnsw.set_ef(ef)
        asked = min(k + SPARE + len(leaving), ef, self._live_points)
        try:
            points, distances = self._hnsw.knn_query(queries, k=asked, num_threads=-1)  # -1: all threads
        except RuntimeError:  # hnswlib raises it when it finds fewer
            return None
        points, cosines = points.astype(np.int64), 1 - distances
        staying, shared = ~_among(leaving, points), _among(self._shared, points)
        query, place = np.nonzero(staying & ~shared)
        found = query, points[query, place], cosines[query, place]
        if shared.any():
            found = joined([found, self._at_shared(points, cosines, shared, k + SPARE, {*leaving.tolist()})])
        return found if np.bincount(found[0], minlength=len(queries)).min() >= k else None

    def _at_shared(
        self, points: np.ndarray, cosines: np.ndarray, shared: np.ndarray, most: int, ignored: set[int]
    ) -> Found:
        """The first numbers, at most so many, at each of the points (u, m) that are `shared`, without those ignored."""
        queries, numbers, near = [], [], []
        for query, place in np.argwhere(shared).tolist():
            there = (number for number in self._together.get(int(points[query, place]), ()) if number not in ignored)
            some = [*islice(there, most)]
            queries += [query] * len(some)
            numbers += some
            near += [cosines[query, place]] * len(some)
        return np.array(queries, np.int64), np.array(numbers, np.int64), np.array(near, np.float32)

    def save(self, file: Path) -> None:
        """Write the graph to `file` and one beside it, and then their checksums; `load` needs all three.

        All is on disk when this returns: vectors that leave later could not be put into the graph again.
        """
        beside, checksums = file.with_suffix(".npy"), file.with_suffix(".crc32")
        checksums.unlink(missing_ok=True)
        self._hnsw.save_index(str(file))
        np.save(beside, np.stack([self.numbers, self._points, self._prints]))
        checksums.write_text(_checksums(file, beside))
        for written in (file, beside, checksums):
            with written.open("rb") as opened:
                os.fsync(opened.fileno())

    @classmethod
    def load(cls, start: int, stop: int, dimension: int, file: Path) -> Graph | None:
        """Read a graph from a file; None if the file does not exist or is damaged."""
        beside = file.with_suffix(".npy")
        try:
            if file.with_suffix(".crc32").read_bytes() != _checksums(file, beside).encode():
                return None
        except FileNotFoundError:
            return None
        hnsw = hnswlib.Index(space="ip", dim=dimension)
        hnsw.load_index(str(file))
        return cls(start, stop, hnsw, *np.load(beside))


def joined(parts: list[Found]) -> Found:
    """What several searches found, at least one."""
    query, number, cosine = (np.concatenate(column) for column in zip(*parts, strict=True))
    return query, number, cosine


def build(source: VectorRange, seed: int, given_up: Event | None = None) -> Graph:
    """Build a graph, by one thread and in order, so that it depends on the vectors and the seed only.

    Raises:
        CancelledError: `given_up` was set meanwhile.
    """
    numbers, vectors = source.numbers, source.vectors
    hnsw = hnswlib.Index(space="ip", dim=vectors.shape[1])
    hnsw.init_index(max_elements=max(1, len(numbers)), M=16, ef_construction=100, random_seed=seed % 2**31)
    hnsw.set_ef(32)
    points = numbers.copy()
    for first in range(0, len(numbers), CHUNK):
        if given_up is not None and given_up.is_set():
            raise CancelledError
        here = slice(first, first + CHUNK)
        points[here] = _points(hnsw, source, here)
        own = points[here] == numbers[here]
        hnsw.add_items(vectors[here][own], numbers[here][own], num_threads=1)
    return Graph(source.start, source.stop, hnsw, numbers, points, fingerprints(vectors))


def fingerprints(vectors: np.ndarray) -> np.ndarray:
    """For each float32 vector (m, d) a number (m,) that differs where vectors do: the exclusive or of its words."""
    return np.asarray(np.bitwise_xor.reduce(vectors.view(np.uint32), axis=1), np.int64)


def _points(hnsw: hnswlib.Index, source: VectorRange, here: slice) -> np.ndarray:
    """The points of the next vectors (c,): each an existing point, that of another of these vectors, or a new one."""
    numbers, vectors = source.numbers[here], source.vectors[here]
    points = numbers.copy()
    if hnsw.get_current_count():
        there = hnsw.knn_query(vectors, k=1, num_threads=1)[0][:, 0].astype(np.int64)
        known = _distance(vectors, source.vectors[np.searchsorted(source.numbers, there)]) <= source.margin
        points[known] = there[known]
    squares = (vectors * vectors).sum(axis=1)
    alike = squares[:, None] + squares - 2 * vectors @ vectors.T < 1e-5  # more than float32 gives for equal vectors
    np.fill_diagonal(alike, val=True)
    first = alike.argmax(axis=1)  # the first of these vectors that each is like
    joins = (_distance(vectors, vectors[first]) <= source.margin) & (points == numbers)
    joins &= (first[first] == first) & (points[first] == numbers[first])
    points[joins] = numbers[first[joins]]
    return points


def _among(numbers: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Which of `wanted` are among `numbers` (m,), ascending."""
    if not len(numbers):
        return np.zeros(wanted.shape, bool)
    return np.asarray(numbers.take(np.searchsorted(numbers, wanted), mode="clip") == wanted)


def _distance(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.asarray(np.linalg.norm(x - y, axis=1))


def _checksums(*files: Path) -> str:
    """CRC-32 of files, part by part in hex: hnswlib would read a damaged file, and search beyond its memory."""
    parts = [(file, start) for file in files for start in range(0, file.stat().st_size, PART_BYTES)]
    with ThreadPoolExecutor(os.cpu_count(), "memr-checksum") as pool:
        return " ".join(f"{crc:08x}" for crc in pool.map(_crc32, parts))


def _crc32(part: tuple[Path, int]) -> int:
    file, start = part
    crc = 0
    with file.open("rb") as opened:
        opened.seek(start)
        for _ in range(0, PART_BYTES, 1 << 20):
            crc = zlib.crc32(opened.read(1 << 20), crc)
    return crc
