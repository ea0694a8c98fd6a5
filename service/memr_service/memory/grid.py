"""Exact sums of vectors: values are rounded to a grid on which float64 adds and subtracts without rounding."""

from __future__ import annotations

import numpy as np

GRID = float(2**36)
"""Values are rounded to multiples of 2^-36. float64 then adds and subtracts up to 2^17 of them without rounding, so a
running sum depends on what is stored, and not on how it came to be stored."""


def on_grid(vectors: np.ndarray) -> np.ndarray:
    """float64 copies of `vectors` rounded to the grid."""
    exact = np.multiply(vectors, GRID, dtype=np.float64)
    np.rint(exact, out=exact)
    exact *= 1 / GRID  # a power of two: exact as well
    return np.asarray(exact)


def in_grid(vectors: np.ndarray) -> np.ndarray:
    """`vectors` in whole multiples of the grid (int64)."""
    return np.asarray(np.rint(vectors.astype(np.float64) * GRID), np.int64)
