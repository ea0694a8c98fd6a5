"""Distinct keys, and which of them each key is."""

from __future__ import annotations

import numpy as np
from memr_service.memory.distinct import distinct, distinct_rows


def test_keys_are_numbered_by_their_first_occurrence() -> None:
    first, number = distinct(["b", "a", "a", "b", "c", "b"])
    assert first.tolist() == [0, 1, 4]
    assert number.tolist() == [0, 1, 1, 0, 2, 0]


def test_no_keys_have_no_numbers() -> None:
    first, number = distinct([])
    assert (first.tolist(), number.tolist()) == ([], [])


def test_rows_are_compared_bit_by_bit() -> None:
    vectors = np.array([[0.0, 1.0], [-0.0, 1.0], [0.0, 1.0], [np.nan, 1.0], [np.nan, 1.0]], np.float32)
    rows, number = distinct_rows(vectors)
    assert number.tolist() == [0, 1, 0, 2, 2]
    np.testing.assert_array_equal(rows.view(np.uint32), vectors[[0, 1, 3]].view(np.uint32))
