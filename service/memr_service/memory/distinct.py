"""Which of some keys are distinct, and which of those each one is."""

from __future__ import annotations

from collections.abc import Hashable, Iterable

import numpy as np


def distinct(keys: Iterable[Hashable]) -> tuple[np.ndarray, np.ndarray]:
    """Number n keys by their first occurrence.

    first, number = distinct(["a", "b", "a"])       # [0, 1], [0, 1, 0]

    Returns:
        Position of the first key with each number (u,), and the number of each key (n,).
    """
    numbers: dict[Hashable, int] = {}
    first: list[int] = []
    number_of: list[int] = []
    before: Hashable = object()
    number = 0
    for position, key in enumerate(keys):
        if key != before:  # equal keys mostly follow each other, and comparing costs less than hashing
            before, number = key, numbers.setdefault(key, len(first))
            if number == len(first):
                first.append(position)
        number_of.append(number)
    return np.array(first, np.int64), np.array(number_of, np.int64)


def distinct_rows(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The distinct rows (u, d) of vectors (n, d), compared bit by bit, and the number of each row (n,)."""
    first, number = distinct(map(np.ndarray.tobytes, vectors))
    return vectors[first], number
