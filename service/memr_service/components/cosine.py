"""Cosines that decide something: in float64, each a function of its two vectors alone, and 1.0 exactly for equal ones.

numpy sums a contiguous last axis of each row by itself and in one fixed order.
"""

from __future__ import annotations

import numpy as np


def paired(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Of each row of x (m, d) with the same row of y (m, d)."""
    p, q = x.astype(np.float64), y.astype(np.float64)
    return np.asarray((p * q).sum(axis=-1) / np.sqrt((p * p).sum(axis=-1) * (q * q).sum(axis=-1)))


def among(a: np.ndarray) -> np.ndarray:
    """Of every row of a (g, d) with every other (g, g); a row at a time, for (g, g, d) numbers would not fit."""
    rows = a.astype(np.float64)
    products = np.stack([(rows * row).sum(axis=-1) for row in rows])
    squares = products.diagonal()
    return np.asarray(products / np.sqrt(squares[:, None] * squares))
