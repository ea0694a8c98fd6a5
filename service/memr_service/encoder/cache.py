"""Vectors of texts that were encoded before: prompts above all come again in every group and every epoch."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable, Sequence

import numpy as np

ENTRY_BYTES = 500
"""What an entry takes in addition to its text and its vector."""


class VectorCache:
    """The vectors that were used last, in at most `limit` bytes. Thread-safe."""

    def __init__(self, limit: int) -> None:
        self.bytes = 0
        self._limit = limit
        self._lock = threading.Lock()
        self._found: OrderedDict[tuple[Hashable, str], tuple[np.ndarray, bool]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._found)

    def get(self, kind: Hashable, text: str) -> tuple[np.ndarray, bool] | None:
        """The vector (d,) of a text encoded in this way, and whether the text was truncated."""
        with self._lock:
            found = self._found.get((kind, text))
            if found is not None:
                self._found.move_to_end((kind, text))
            return found

    def all_of(self, kind: Hashable, texts: Sequence[str]) -> list[tuple[np.ndarray, bool]] | None:
        """What `get` gives for each text; None if one of them is not here."""
        found = []
        for text in texts:
            if (one := self.get(kind, text)) is None:
                return None
            found.append(one)
        return found

    def put(self, kind: Hashable, text: str, vector: np.ndarray, truncated: bool) -> None:
        """Keep a copy of a vector; drop those that have not been used for the longest time."""
        with self._lock:
            if (kind, text) in self._found:
                return
            self._found[kind, text] = vector.copy(), truncated
            self.bytes += _size(text, vector)
            while self.bytes > self._limit:
                (_, oldest), (dropped, _) = self._found.popitem(last=False)
                self.bytes -= _size(oldest, dropped)


def _size(text: str, vector: np.ndarray) -> int:
    return ENTRY_BYTES + 4 * len(text) + vector.nbytes
