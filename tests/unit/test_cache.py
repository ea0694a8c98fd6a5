"""Vectors of texts that come again."""

from __future__ import annotations

import numpy as np
from memr_service.encoder.cache import ENTRY_BYTES, VectorCache

VECTOR = np.ones(4, np.float32)
SIZE = ENTRY_BYTES + 4 * 1 + VECTOR.nbytes


def test_a_vector_is_found_again_under_the_kind_of_encoding_it_is_of() -> None:
    cache = VectorCache(10 * SIZE)
    cache.put("float32", "a", VECTOR, True)
    found = cache.get("float32", "a")
    assert found is not None
    assert np.array_equal(found[0], VECTOR)
    assert found[1] is True
    assert cache.get("bfloat16", "a") is None


def test_what_is_remembered_does_not_change_with_the_callers_array() -> None:
    cache, vector = VectorCache(10 * SIZE), VECTOR.copy()
    cache.put("float32", "a", vector, False)
    vector[:] = 0
    found = cache.get("float32", "a")
    assert found is not None
    assert np.array_equal(found[0], VECTOR)


def test_beyond_the_limit_those_that_nobody_asked_for_in_the_longest_time_are_forgotten() -> None:
    cache = VectorCache(3 * SIZE)
    for text in "abc":
        cache.put("float32", text, VECTOR, False)
    cache.get("float32", "a")
    cache.put("float32", "d", VECTOR, False)
    assert [cache.get("float32", text) is not None for text in "abcd"] == [True, False, True, True]
    assert cache.bytes == 3 * SIZE
    assert len(cache) == 3


def test_a_text_beyond_the_whole_limit_is_not_kept() -> None:
    cache = VectorCache(SIZE)
    cache.put("float32", "a" * 1000, VECTOR, False)
    assert (len(cache), cache.bytes) == (0, 0)


def test_all_texts_are_found_or_nothing_is() -> None:
    cache = VectorCache(10 * SIZE)
    cache.put("float32", "a", VECTOR, True)
    assert cache.all_of("float32", ["a", "b"]) is None
    cache.put("float32", "b", 2 * VECTOR, False)
    found = cache.all_of("float32", ["b", "a"])
    assert found is not None
    assert [(vector.tolist(), cut) for vector, cut in found] == [([2.0] * 4, False), ([1.0] * 4, True)]
