"""Exact cosines: in float64, each a function of its two vectors alone, and 1.0 exactly for equal vectors (law L14).

numpy sums a contiguous last axis of each row by itself and in one fixed order. So a cosine does not depend on the rest
of the request, the matrix library or the number of threads.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

PAIRS = 128
"""Vectors held in float64 at once: few enough for the processor's cache."""


class Vectors(Protocol):
    """Rows (m, d) of float32: an array, or an object that gathers them when they are looked at."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: slice | np.ndarray, /) -> np.ndarray: ...


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


def exact_cosines(query: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """Cosine (m,) of a query (d,) with each row of vectors (m, d), in float64, each by itself."""
    return rowwise_cosines(vectors, query[None])


def among(a: np.ndarray) -> np.ndarray:
    """Cosine of every row of a (g, d) with every other (g, g); row by row, since (g, g, d) numbers would not fit."""
    rows = a.astype(np.float64)
    products = np.stack([(rows * row).sum(axis=-1) for row in rows])
    squares = products.diagonal()
    return np.asarray(products / np.sqrt(squares[:, None] * squares))
