"""Explore: how far a completion is from every known failure (equation 5, law L5)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from memr_service.memory.cosine import Vectors, pair_cosines

HIDDEN = -4.0
"""Cosine given to entries that are held out: lower than any real cosine."""
CHUNK = 1024
"""Items compared at once: bounds the memory that takes."""
STRIP = 512
"""Vectors looked at together: as many as stay near the processor from when they are gathered until they are used."""


class Part(NamedTuple):
    """Vectors [start, stop) of a table, and who reads them: `items` (g,), each but for the one `held` (g,), or -1."""

    items: np.ndarray
    start: int
    stop: int
    held: np.ndarray


def explore(a: np.ndarray, b: Vectors, held: np.ndarray, margin: float) -> np.ndarray:
    """`novelty` of items that all read the same.

    Args:
        a: completions (g, d).
        b: the failures read (m, d).
        held: for each item the row of b it must not see (g,), -1 for none.
    """
    return novelty(a, b, [Part(np.arange(len(a)), 0, len(b), held)], margin)


def novelty(a: np.ndarray, b: Vectors, parts: Sequence[Part], margin: float) -> np.ndarray:
    """1 - max_{b in B(M_f, q)} cos(a, b): how far from every known failure (equation 5, law L5).

    A float32 matrix product for each part finds the few candidates within `margin` of an item's largest cosine; those
    decide in float64.

    Args:
        a: completions (n, d).
        b: all the failures read (m, d).
        parts: who reads which of them; an item may read several parts.
        margin: more than the matrix product can be wrong about a cosine.

    Returns:
        (n,) in [0, 2]; NaN where nothing is left to compare with.
    """
    if len(a) <= CHUNK:
        return 1.0 - _largest_cosines(a, b, parts, margin)
    largest = []
    for start in range(0, len(a), CHUNK):
        among = [(part, (part.items >= start) & (part.items < start + CHUNK)) for part in parts]
        these = [
            Part(part.items[mine] - start, part.start, part.stop, part.held[mine]) for part, mine in among if mine.any()
        ]
        largest.append(_largest_cosines(a[start : start + CHUNK], b, these, margin))
    return 1.0 - np.concatenate(largest)


class _Strips:
    """Rows of `b`, gathered `STRIP` at a time: parts smaller than that share a gathering with those that follow."""

    def __init__(self, b: Vectors) -> None:
        self.b = b
        self.start = 0
        self.rows = np.empty((0, 0), np.float32)

    def take(self, start: int, stop: int) -> np.ndarray:
        """Rows start..stop-1, at most `STRIP` of them."""
        if not self.start <= start <= stop <= self.start + len(self.rows):
            self.start, self.rows = start, self.b[start : start + STRIP]
        return self.rows[start - self.start : stop - self.start]


def _largest_cosines(a: np.ndarray, b: Vectors, parts: Sequence[Part], margin: float) -> np.ndarray:
    """Of each item the largest cosine to what it reads (n,); NaN where that is nothing."""
    found, strips = [], _Strips(b)
    top = np.full(len(a), HIDDEN, np.float32)
    for part in parts:
        if part.start < part.stop:
            cosines = _cosines_of(a[part.items], strips, part)
            most = cosines.max(axis=0)
            top[part.items] = np.maximum(top[part.items], most)
            found.append((part, cosines, most))
    floor = np.maximum(top - margin, HIDDEN / 2)
    items, entries = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for part, cosines, most in found:
        near = np.flatnonzero(most >= floor[part.items])
        entry, place = np.nonzero(cosines[:, near] >= floor[part.items[near]])
        items.append(part.items[near[place]])
        entries.append(part.start + entry)
    item, entry = np.concatenate(items), np.concatenate(entries)
    if len(item) > 8 * len(a):
        entry, item = _distinct_pairs(entry, item, b)
    largest = np.full(len(a), -np.inf)
    np.maximum.at(largest, item, pair_cosines(a, item, b, entry))
    return np.where(np.isneginf(largest), np.nan, largest)


def _cosines_of(a: np.ndarray, b: _Strips, part: Part) -> np.ndarray:
    """float32 cosines (m, g) of a part's failures to its items a (g, d), but of what is held out."""
    cosines = np.empty((part.stop - part.start, len(a)), np.float32)
    for start in range(part.start, part.stop, STRIP):
        strip = b.take(start, min(start + STRIP, part.stop))
        np.matmul(strip, a.T, out=cosines[start - part.start :][: len(strip)])
    hidden = np.flatnonzero(part.held >= 0)
    cosines[part.held[hidden] - part.start, hidden] = HIDDEN
    return cosines


def _distinct_pairs(entry: np.ndarray, item: np.ndarray, b: Vectors) -> tuple[np.ndarray, np.ndarray]:
    """The pairs but those whose entry equals another's of the same item: a policy that repeats itself has thousands."""
    first: dict[bytes, int] = {}
    involved, place = np.unique(entry, return_inverse=True)
    same = np.array([first.setdefault(b[one : one + 1].tobytes(), one) for one in involved.tolist()])
    items, entries = np.divmod(np.unique(item * len(b) + same[place]), len(b))
    return entries, items
