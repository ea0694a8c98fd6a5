"""The paper's equations as pure functions of arrays. Nothing here knows of runs, stores or requests.

Symbols and shapes: a (g, d) completions of g items; B (m, d) the completions they read; every embedding is a unit row.
Raw values are float64 with NaN where nothing was read; they never share a name with scaled ones. No function changes
its arguments. Comparisons are made in float64 with a fixed order of summation, so that a value depends on its own
vectors alone: not on what else was in the request, the matrix library or the number of threads (law L14).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np

EPSILON = 1e-8
FLAT = 1e-6
"""Windows whose values differ by less than this say nothing; everything in them scales to 0."""
HIDDEN = -4.0
"""Stands for the cosine to what must not be seen: below any there is."""
CHUNK = 1024
"""Items compared at once: bounds the memory that takes."""
PAIRS = 128
"""Vectors held in float64 at once: few enough for the processor's cache."""
STRIP = 512
"""Vectors looked at together: as many as stay near the processor from when they are gathered until they are used."""


class Part(NamedTuple):
    """Vectors [start, stop) of a table, and who reads them: `items` (g,), each but for the one `held` (g,), or -1."""

    items: np.ndarray
    start: int
    stop: int
    held: np.ndarray


class Vectors(Protocol):
    """Rows (m, d) of float32: an array, or what gathers them when they are looked at."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: slice | np.ndarray, /) -> np.ndarray: ...


def exploit(a: np.ndarray, total: np.ndarray, count: np.ndarray) -> np.ndarray:
    """-||a - mean(B(M_s, q))||_2: minus the distance to the centroid of what worked (equation 4, law L5).

    Args:
        a: completions (g, d).
        total: for each item the sum of the completions it reads (g, d), float64.
        count: how many those are (g,).

    Returns:
        (g,) in [-2, 0]; NaN where count is 0.
    """
    squares = np.empty(len(a))
    for start in range(0, len(a), PAIRS):
        part = slice(start, start + PAIRS)
        difference = total[part] / np.maximum(count[part], 1)[:, None]
        difference -= a[part]
        difference *= difference
        squares[part] = difference.sum(axis=1)
    return np.where(count > 0, -np.sqrt(squares), np.nan)


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


def pair_cosines(a: np.ndarray, item: np.ndarray, b: Vectors, entry: np.ndarray) -> np.ndarray:
    """Cosine (p,) of row item[i] of a (n, d) with row entry[i] of b (m, d), in float64, each by itself."""
    cosines = np.empty(len(item))
    for start in range(0, len(item), PAIRS):
        pairs = slice(start, start + PAIRS)
        cosines[pairs] = rowwise_cosines(a[item[pairs]], b[entry[pairs]])
    return cosines


def rowwise_cosines(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Cosine (m,) of each row of x (m, d) with the same row of y (m, d), in float64, each by itself."""
    p, q = x.astype(np.float64), y.astype(np.float64)
    return np.asarray((p * q).sum(axis=1) / np.sqrt((p * p).sum(axis=1) * (q * q).sum(axis=1)))


def window_bounds(window: np.ndarray, values: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Smallest and largest of the `size` newest values as each of `values` arrives (van Herk's algorithm, O(n)).

    Args:
        window: what the window held before, oldest first (at most `size`).
        values: finite raw values in item order (n,).

    Returns:
        (n,) minima and (n,) maxima, each over the window that includes the value.
    """
    sequence = np.concatenate([window, values])
    lowest, negated = _sliding_min(np.stack([sequence, -sequence]), size)[:, len(window) :]
    return lowest, -negated


def _sliding_min(sequences: np.ndarray, size: int) -> np.ndarray:
    """Minimum over the last `size` values (fewer at the start) for each position of each sequence (s, m)."""
    count, length = sequences.shape
    size = min(size, max(1, length))
    padding = -(length + size - 1) % size
    padded = np.full((count, size - 1 + length + padding), np.inf)
    padded[:, size - 1 : size - 1 + length] = sequences
    blocks = padded.reshape(count, -1, size)
    from_start = np.minimum.accumulate(blocks, axis=2).reshape(count, -1)
    to_end = np.minimum.accumulate(blocks[..., ::-1], axis=2)[..., ::-1].reshape(count, -1)
    return np.asarray(np.minimum(to_end[:, :length], from_start[:, size - 1 : size - 1 + length]))


def slide(window: np.ndarray, raw: np.ndarray, size: int) -> np.ndarray:
    """The window after the defined values of `raw` have been appended and all but the last `size` dropped (L6)."""
    return np.concatenate([window, raw[~np.isnan(raw)]])[-size:]


def scale(window: np.ndarray, raw: np.ndarray, size: int, scaling: str) -> np.ndarray:
    """Sliding min-max: (x - min) / (max - min + 1e-8), 0 where max - min < 1e-6 or x is undefined (equation 6, L6).

    Args:
        window: the values before this request, oldest first.
        raw: this request's values (n,), NaN for none; those neither enter the window nor move it.
        scaling: "item" takes for each value the window that ends with it; "request" one window that ends with the last,
            and holds at least all of the request.

    Returns:
        (n,) in [0, 1].
    """
    defined = ~np.isnan(raw)
    values = raw[defined]
    scaled = np.zeros(len(raw))
    if not len(values):
        return scaled
    if scaling == "request":
        last = slide(window, raw, max(size, len(values)))  # all of the request, or the order would matter
        lowest, highest = np.full(len(values), last.min()), np.full(len(values), last.max())
    else:
        lowest, highest = window_bounds(window, values, size)
    spread = highest - lowest
    scaled[defined] = np.where(spread < FLAT, 0.0, (values - lowest) / (spread + EPSILON))
    return scaled


def center(scaled: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Scaled values minus their group's mean; `group` (n,) holds group numbers 0, 1, ... (L6, `center: "group"`)."""
    if not len(scaled):
        return scaled
    means = np.bincount(group, scaled) / np.maximum(np.bincount(group), 1)
    return np.asarray(scaled - means[group])


def weighted_sum(scaled: dict[str, np.ndarray], weights: dict[str, float], n: int) -> np.ndarray:
    """R_mem = sum_c weight_c * scaled_c (equation 7, law L8), for n items, in the order of the config's components."""
    reward = np.zeros(n)
    for name, weight in weights.items():
        reward = reward + weight * scaled[name]
    return reward
