"""One HNSW graph over numbered vectors (Malkov and Yashunin 2018), and its files.

Vectors that are all but equal share a point. A few hundred copies of one text would otherwise take each other for all
their neighbours and become an island that no search leaves: a policy that repeats itself is what makes them.
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
PIECE = 64 << 20
"""Bytes of a file that have a checksum of their own, so that several cores share the work of a large one."""
SPARE = 16
"""Neighbours beyond those asked for, among which cosines in float64 may decide otherwise than the graph did."""

Found = list[tuple[np.ndarray, np.ndarray]]
"""For each query the numbers (m,) found in one place and their cosines in float32 (m,)."""


@dataclass(frozen=True)
class VectorRange:
    """What a graph is built from: `numbers` (m,) in [start, stop), ascending, whose vectors lie at `rows` (m,).

    Vectors no farther from each other than `margin` share a point.
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
    """A graph over what was stored of [start, stop) when it was begun. It never changes but for what is marked as gone.

    Attributes:
        numbers: all that it holds (m,), ascending.
        live: how many of them are not gone.
    """

    def __init__(
        self, start: int, stop: int, hnsw: hnswlib.Index, numbers: np.ndarray, points: np.ndarray, prints: np.ndarray
    ) -> None:
        """`points` (m,): the point of each of `numbers` (m,), called by the first number there; `prints` (m,): what
        `fingerprints` makes of their vectors."""
        self.start = start
        self.stop = stop
        self.numbers = numbers
        self.live = len(numbers)
        self._hnsw = hnsw
        self._points = points
        self._prints = prints
        self._live_points = hnsw.get_current_count()
        self._together: dict[int, dict[int, None]] = {}
        """Point -> the numbers that are left there, ascending, where there were several."""
        shared = np.isin(points, points[points != numbers])
        for number, point in zip(numbers[shared].tolist(), points[shared].tolist(), strict=True):
            self._together.setdefault(point, {})[number] = None

    def holds(self, numbers: np.ndarray) -> np.ndarray:
        """Which of `numbers` (m,) are in the graph, gone or not."""
        return np.asarray(self.numbers.take(np.searchsorted(self.numbers, numbers), mode="clip") == numbers)

    def built_from(self, numbers: np.ndarray, vectors: np.ndarray) -> bool:
        """Whether it was built from these vectors (m, d), among others, by these numbers (m,)."""
        known = self._prints.take(np.searchsorted(self.numbers, numbers), mode="clip")
        return bool(self.holds(numbers).all() and (known == fingerprints(vectors)).all())

    def forget(self, numbers: np.ndarray) -> None:
        """Mark those of `numbers` that it holds as gone: searches pass over them. None may be marked twice."""
        here = numbers[self.holds(numbers)]
        points = self._points[np.searchsorted(self.numbers, here)]
        for number, point in zip(here.tolist(), points.tolist(), strict=True):
            left = self._together.get(point, {number: None})
            del left[number]
            if not left:
                self._hnsw.mark_deleted(point)
                self._live_points -= 1
        self.live -= len(here)

    def search(self, queries: np.ndarray, k: int, ef: int, leaving: np.ndarray) -> Found:
        """For each query (u, d) the k nearest and some more, past those about to leave; nothing where it finds fewer.

        Args:
            ef: how many points are kept in view.
            leaving: numbers that it holds (l,), none of them gone.
        """
        self._hnsw.set_ef(ef)
        asked = min(k + SPARE + len(leaving), ef, self._live_points)
        try:
            points, distances = self._hnsw.knn_query(queries, k=asked, num_threads=-1)  # all there are
        except RuntimeError:  # hnswlib's way of saying that it found fewer
            return []
        past = set(leaving.tolist())
        found = [self._first(row, k + SPARE, past) for row in points.tolist()]
        if any(len(numbers) < k for numbers, _ in found):
            return []
        return [(np.array(numbers), 1 - row[places]) for (numbers, places), row in zip(found, distances, strict=True)]

    def _first(self, points: list[int], k: int, past: set[int]) -> tuple[list[int], list[int]]:
        """The first k numbers at some points that are not to be passed over, and the places of their points."""
        numbers: list[int] = []
        places: list[int] = []
        for place, point in enumerate(points):
            there = (number for number in self._together.get(point, (point,)) if number not in past)
            numbers += islice(there, k - len(numbers))
            places += [place] * (len(numbers) - len(places))
            if len(numbers) == k:
                break
        return numbers, places

    def save(self, file: Path) -> None:
        """Keep the graph in `file` and one beside it, with their checksums; without these they count for nothing.

        All is on disk when this returns: what leaves later cannot be put into the graph once more.
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
        """The graph that was kept in a file, or None where it is not there or not whole."""
        beside = file.with_suffix(".npy")
        try:
            if file.with_suffix(".crc32").read_bytes() != _checksums(file, beside).encode():
                return None
        except FileNotFoundError:
            return None
        hnsw = hnswlib.Index(space="ip", dim=dimension)
        hnsw.load_index(str(file))
        return cls(start, stop, hnsw, *np.load(beside))


def build(stretch: VectorRange, seed: int, given_up: Event | None = None) -> Graph:
    """A graph over a stretch: by one thread and in order, so that it is a function of the stretch and the seed.

    Raises:
        CancelledError: it was given up meanwhile.
    """
    numbers, vectors = stretch.numbers, stretch.vectors
    hnsw = hnswlib.Index(space="ip", dim=vectors.shape[1])
    hnsw.init_index(max_elements=max(1, len(numbers)), M=16, ef_construction=100, random_seed=seed % 2**31)
    hnsw.set_ef(32)
    points = numbers.copy()
    for first in range(0, len(numbers), CHUNK):
        if given_up is not None and given_up.is_set():
            raise CancelledError
        here = slice(first, first + CHUNK)
        points[here] = _points(hnsw, stretch, here)
        own = points[here] == numbers[here]
        hnsw.add_items(vectors[here][own], numbers[here][own], num_threads=1)
    return Graph(stretch.start, stretch.stop, hnsw, numbers, points, fingerprints(vectors))


def fingerprints(vectors: np.ndarray) -> np.ndarray:
    """A number (m,) that tells vectors (m, d) in float32 apart: the exclusive or of their words."""
    return np.asarray(np.bitwise_xor.reduce(vectors.view(np.uint32), axis=1), np.int64)


def _points(hnsw: hnswlib.Index, stretch: VectorRange, here: slice) -> np.ndarray:
    """Where the next vectors of a stretch belong (c,): at a point that is there or comes with them, or at their own."""
    numbers, vectors = stretch.numbers[here], stretch.vectors[here]
    points = numbers.copy()
    if hnsw.get_current_count():
        there = hnsw.knn_query(vectors, k=1, num_threads=1)[0][:, 0].astype(np.int64)
        known = _distance(vectors, stretch.vectors[np.searchsorted(stretch.numbers, there)]) <= stretch.margin
        points[known] = there[known]
    squares = (vectors * vectors).sum(axis=1)
    alike = squares[:, None] + squares - 2 * vectors @ vectors.T < 1e-5  # more than float32 makes of equal ones
    np.fill_diagonal(alike, val=True)
    first = alike.argmax(axis=1)  # of all that are alike, among those that come together
    joins = (_distance(vectors, vectors[first]) <= stretch.margin) & (points == numbers)
    joins &= (first[first] == first) & (points[first] == numbers[first])
    points[joins] = numbers[first[joins]]
    return points


def _distance(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.asarray(np.linalg.norm(x - y, axis=1))


def _checksums(*files: Path) -> str:
    """CRC-32 of files, piece by piece in hex: hnswlib reads whatever it is given, and searches beyond its memory."""
    pieces = [(file, start) for file in files for start in range(0, file.stat().st_size, PIECE)]
    with ThreadPoolExecutor(os.cpu_count(), "memr-checksum") as pool:
        return " ".join(f"{crc:08x}" for crc in pool.map(_crc32, pieces))


def _crc32(piece: tuple[Path, int]) -> int:
    file, start = piece
    crc = 0
    with file.open("rb") as opened:
        opened.seek(start)
        for _ in range(0, PIECE, 1 << 20):
            crc = zlib.crc32(opened.read(1 << 20), crc)
    return crc
