"""One HNSW graph over numbered vectors (Malkov and Yashunin 2018), and its file."""

from __future__ import annotations

import os
import zlib
from dataclasses import dataclass
from pathlib import Path

import hnswlib
import numpy as np


@dataclass(frozen=True)
class Stretch:
    """What a graph is built from: `numbers` (m,) in [start, stop), ascending, and their `vectors` (m, d)."""

    start: int
    stop: int
    numbers: np.ndarray
    vectors: np.ndarray


class Graph:
    """A graph over what was stored of [start, stop) when it was begun. It never changes but for what is marked as gone.

    Attributes:
        numbers: all that it holds (m,), ascending.
        live: how many of them are not gone.
    """

    def __init__(self, start: int, stop: int, hnsw: hnswlib.Index) -> None:
        self.start = start
        self.stop = stop
        self.numbers = np.sort(np.array(hnsw.get_ids_list(), np.int64))
        self.live = len(self.numbers)
        self._hnsw = hnsw

    def holds(self, numbers: np.ndarray) -> np.ndarray:
        """Which of `numbers` (m,) are in the graph, gone or not."""
        places = np.searchsorted(self.numbers, numbers)
        return np.asarray(np.append(self.numbers, -1)[places] == numbers)

    def vectors(self, numbers: np.ndarray) -> np.ndarray:
        """The vectors (m, d) it was built from."""
        return np.asarray(self._hnsw.get_items(numbers, return_type="numpy"))

    def forget(self, numbers: np.ndarray) -> None:
        """Mark those of `numbers` that it holds as gone: searches pass over them. None may be marked twice."""
        gone = numbers[self.holds(numbers)].tolist()
        for number in gone:
            self._hnsw.mark_deleted(number)
        self.live -= len(gone)

    def search(self, queries: np.ndarray, k: int, ef: int) -> tuple[np.ndarray, np.ndarray] | None:
        """Numbers (u, k) nearest to each query (u, d) and their cosines (u, k); None where it finds fewer."""
        self._hnsw.set_ef(ef)
        try:
            numbers, distances = self._hnsw.knn_query(queries, k=k, num_threads=1)
        except RuntimeError:  # hnswlib's way of saying that it found fewer
            return None
        return numbers.astype(np.int64), 1 - distances

    def save(self, file: Path) -> None:
        """Keep the graph in a file, with its checksum beside it; without that the file counts for nothing.

        Both are on disk when this returns: what leaves later cannot be put into the graph once more.
        """
        _sum_file(file).unlink(missing_ok=True)
        self._hnsw.save_index(str(file))
        _sum_file(file).write_text(_checksum(file))
        for written in (file, _sum_file(file)):
            with written.open("rb") as opened:
                os.fsync(opened.fileno())

    @classmethod
    def load(cls, start: int, stop: int, dimension: int, file: Path) -> Graph | None:
        """The graph of a file, or None where the file is not there or not whole."""
        try:
            if _sum_file(file).read_bytes() != _checksum(file).encode():
                return None
        except FileNotFoundError:
            return None
        hnsw = hnswlib.Index(space="ip", dim=dimension)
        hnsw.load_index(str(file))
        return cls(start, stop, hnsw)


def build(stretch: Stretch, seed: int) -> Graph:
    """A graph over a stretch: by one thread and in order, so that it is a function of the stretch and the seed."""
    hnsw = hnswlib.Index(space="ip", dim=stretch.vectors.shape[1])
    hnsw.init_index(max_elements=max(1, len(stretch.numbers)), M=16, ef_construction=200, random_seed=seed % 2**31)
    if len(stretch.numbers):
        hnsw.add_items(stretch.vectors, stretch.numbers, num_threads=1)
    return Graph(stretch.start, stretch.stop, hnsw)


def _sum_file(file: Path) -> Path:
    return file.with_suffix(".crc32")


def _checksum(file: Path) -> str:
    """CRC-32 of a file, in hex: hnswlib reads whatever it is given, and searches beyond its memory."""
    crc = 0
    with file.open("rb") as opened:
        while block := opened.read(1 << 20):
            crc = zlib.crc32(block, crc)
    return f"{crc:08x}"
