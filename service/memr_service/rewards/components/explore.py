"""explore: how far a completion is from every known failure (equation 5)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from memr_service.memory.cosine import Vectors, pair_cosines

HIDDEN = -4.0
"""Cosine given to entries that are held out: lower than any real cosine."""
CHUNK = 1024
"""Items that are compared at once, which bounds the memory needed."""
STRIP = 512
"""Vectors that are gathered at once, few enough to stay in the processor's cache until they are used."""


class Part(NamedTuple):
    """Rows [start, stop) of some vectors, and the items that read them.

    `items` (g,): which items. `held` (g,): the row that each of them must not see, -1 for none.
    """

    items: np.ndarray
    start: int
    stop: int
    held: np.ndarray


def explore(a: np.ndarray, b: Vectors, held: np.ndarray, margin: float) -> np.ndarray:
    """1 - max_{b in B(M_f, q)} cos(a, b): the cosine distance to the nearest known failure (equation 5).

    R_explore of Memory-R+ (arXiv 2504.02273). The items all read the same failures; see `novelty` for others.

    Args:
        a: completions (g, d).
        b: the failures read, B(M_f, q) (m, d).
        held: for each item the row of b that it must not see (g,), -1 for none.
        margin: as for `novelty`.

    Returns:
        (g,) in [0, 2], larger when farther; NaN where there is nothing to compare with.
    """
    return novelty(a, b, [Part(np.arange(len(a)), 0, len(b), held)], margin)


def novelty(a: np.ndarray, b: Vectors, parts: Sequence[Part], margin: float) -> np.ndarray:
    """1 - the largest cosine to what each item reads: `explore` of items that read different vectors.

    For each part a float32 matrix product finds the few candidates within `margin` of an item's largest cosine. Their
    exact cosines in float64 decide.

    Args:
        a: completions (n, d).
        b: all the vectors read (m, d).
        parts: which items read which of them; an item may be in several parts.
        margin: an upper bound of the error of a cosine in the matrix product.

    Returns:
        (n,) in [0, 2]; NaN where there is nothing to compare with.
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
    """Rows of `b`, gathered `STRIP` at a time, so that small parts next to each other are gathered together."""

    def __init__(self, b: Vectors) -> None:
        self.b = b
        self.start = 0
        self.rows = np.empty((0, 0), np.float32)

    def take(self, start: int, stop: int) -> np.ndarray:
        """Rows [start, stop), at most `STRIP` of them."""
        if not self.start <= start <= stop <= self.start + len(self.rows):
            self.start, self.rows = start, self.b[start : start + STRIP]
        return self.rows[start - self.start : stop - self.start]


def _largest_cosines(a: np.ndarray, b: Vectors, parts: Sequence[Part], margin: float) -> np.ndarray:
    """The largest cosine of each item to what it reads (n,); NaN where it reads nothing."""
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
        entry, reader = np.nonzero(cosines[:, near] >= floor[part.items[near]])
        items.append(part.items[near[reader]])
        entries.append(part.start + entry)
    item, entry = np.concatenate(items), np.concatenate(entries)
    if len(item) > 8 * len(a):
        entry, item = _distinct_pairs(entry, item, b)
    largest = np.full(len(a), -np.inf)
    np.maximum.at(largest, item, pair_cosines(a, item, b, entry))
    return np.where(np.isneginf(largest), np.nan, largest)


def _cosines_of(a: np.ndarray, b: _Strips, part: Part) -> np.ndarray:
    """float32 cosines (m, g) of a part's vectors to its items a (g, d); HIDDEN for what is held out."""
    cosines = np.empty((part.stop - part.start, len(a)), np.float32)
    for start in range(part.start, part.stop, STRIP):
        strip = b.take(start, min(start + STRIP, part.stop))
        np.matmul(strip, a.T, out=cosines[start - part.start :][: len(strip)])
    hidden = np.flatnonzero(part.held >= 0)
    cosines[part.held[hidden] - part.start, hidden] = HIDDEN
    return cosines


def _distinct_pairs(entry: np.ndarray, item: np.ndarray, b: Vectors) -> tuple[np.ndarray, np.ndarray]:
    """One pair for each item and distinct vector: a policy that repeats itself has thousands of equal ones."""
    first: dict[bytes, int] = {}
    involved, number = np.unique(entry, return_inverse=True)
    same = np.array([first.setdefault(b[one : one + 1].tobytes(), one) for one in involved.tolist()])
    items, entries = np.divmod(np.unique(item * len(b) + same[number]), len(b))
    return entries, items
