"""explore against a plain loop."""

from __future__ import annotations

import math
import sys
import tracemalloc

import numpy as np
import pytest
from memr_service.memory.index import MARGINS
from memr_service.rewards.components import explore
from memr_service.rewards.components.explore import Part, novelty
from support.batches import unit_rows


def vectors(rng: np.random.Generator, n: int, storage: str) -> np.ndarray:
    """Rows, many of them equal to others or nearly so."""
    rows = unit_rows(rng, n, 24)
    rows[n // 3 : 2 * n // 3] = rows[: 2 * n // 3 - n // 3] + rng.normal(size=24) * 1e-7
    rows[2 * n // 3 :] = rows[rng.integers(max(1, 2 * n // 3), size=n - 2 * n // 3)]
    return rows.astype(storage).astype(np.float32)


def explore_plainly(a: np.ndarray, b: np.ndarray, held: int) -> float:
    """1 - the largest cosine, in float64, of an item (d,) with the failures (m, d) but the one held out."""
    cosines = []
    for row, failure in enumerate(b.astype(np.float64)):
        x = a.astype(np.float64)
        if row != held:
            cosines.append(math.fsum(x * failure) / math.sqrt(math.fsum(x * x) * math.fsum(failure * failure)))
    return 1 - max(cosines) if cosines else math.nan


@pytest.mark.parametrize("storage", list(MARGINS))
@pytest.mark.parametrize("m", [0, 1, 2, 50, 300])
def test_explore_is_one_minus_the_largest_cosine_to_twelve_digits(m: int, storage: str) -> None:
    rng = np.random.default_rng(m)
    b = vectors(rng, m, storage)
    a = np.concatenate([vectors(rng, 30, storage), b[:20]])
    held = rng.integers(-1, max(m, 1), size=len(a)) if m else np.full(len(a), -1)
    raw = explore(a, b, held, MARGINS[storage])
    plain = [explore_plainly(item, b, out) for item, out in zip(a, held.tolist(), strict=True)]
    np.testing.assert_allclose(raw, plain, rtol=0, atol=1e-12)


def test_a_known_failure_gets_zero_unless_it_is_held_out() -> None:
    b = unit_rows(np.random.default_rng(1), 5, 24)
    raw = explore(b[[2, 2]], b, np.array([-1, 2]), MARGINS["float32"])
    assert raw[0] == 0 < raw[1]


@pytest.mark.parametrize("chunk", [1024, 16])
def test_an_item_that_reads_several_parts_is_compared_with_all_of_them(
    chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules[novelty.__module__], "CHUNK", chunk)
    rng = np.random.default_rng(5)
    a, b = unit_rows(rng, 60, 24), unit_rows(rng, 40, 24)
    parts, seen = [], [np.empty((0, 24), np.float32)] * 60
    for start, stop in ((0, 15), (15, 15), (15, 38)):
        items = np.sort(rng.choice(50, 30, replace=False))  # ten items read nothing
        held = np.where(rng.random(30) < 0.5, rng.integers(start, max(stop, start + 1), 30), -1)
        held = held if stop > start else np.full(30, -1)
        parts.append(Part(items, start, stop, held))
        for item, out in zip(items.tolist(), held.tolist(), strict=True):
            left = [row for row in range(start, stop) if row != out]
            seen[item] = np.concatenate([seen[item], b[left]])
    raw = novelty(a, b, parts, MARGINS["float32"])
    plain = [explore_plainly(item, failures, -1) for item, failures in zip(a, seen, strict=True)]
    np.testing.assert_allclose(raw, plain, rtol=0, atol=1e-12)
    assert np.isnan(raw[50:]).all()


@pytest.mark.slow
def test_many_equal_or_nearly_equal_failures_are_compared_in_bounded_memory() -> None:
    rng = np.random.default_rng(2)
    b = np.repeat(unit_rows(rng, 1, 64), 2000, axis=0)
    for failures in (b, b + rng.normal(size=b.shape).astype(np.float32) * 1e-7):
        tracemalloc.start()
        raw = explore(b[:200], failures, np.full(200, -1), MARGINS["float32"])
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        np.testing.assert_allclose(raw, np.zeros(200), atol=1e-10)
        assert peak < 64e6  # the pairs' vectors in float64 would be 200 MB


@pytest.mark.parametrize("storage", list(MARGINS))
def test_an_items_value_depends_neither_on_the_other_items_nor_on_the_order_of_failures(storage: str) -> None:
    rng = np.random.default_rng(3)
    a, b = unit_rows(rng, 70, 384, storage=storage), unit_rows(rng, 90, 384, storage=storage)
    held = rng.integers(-1, 90, size=70)
    together = explore(a, b, held, MARGINS[storage])
    for item in range(70):
        one = slice(item, item + 1)
        assert explore(a[one], b, held[one], MARGINS[storage])[0] == together[item]
    order = rng.permutation(90)
    moved = np.where(held >= 0, np.argsort(order)[held], -1)
    np.testing.assert_array_equal(explore(a, b[order], moved, MARGINS[storage]), together)


def test_arguments_are_not_changed() -> None:
    rng = np.random.default_rng(4)
    a, b, held = unit_rows(rng, 4), unit_rows(rng, 5), np.array([-1, 0, 1, 2])
    for one in (a, b, held):
        one.flags.writeable = False
    explore(a, b, held, MARGINS["float32"])
