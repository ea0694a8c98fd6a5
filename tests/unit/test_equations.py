"""Each equation against a plain loop that says the same."""

from __future__ import annotations

import math
import sys
import tracemalloc
from collections import deque

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from memr_service.memory.index import MARGINS
from memr_service.rewards.components.exploit import exploit
from memr_service.rewards.components.explore import Part, explore, novelty
from memr_service.rewards.groups import center
from memr_service.rewards.official import weighted_sum
from memr_service.state.window import scale, slide, window_bounds
from support.batches import unit_rows

VALUES = st.lists(
    st.one_of(
        st.floats(-2, 2), st.sampled_from([0.0, -1.0, 1e-7, -1e-7, 5e-7]), st.just(math.nan)
    ),
    max_size=40,
)  # fmt: skip
WINDOW = st.lists(st.floats(-2, 2), max_size=12)
SIZES = st.integers(1, 12)


def vectors(rng: np.random.Generator, n: int, storage: str) -> np.ndarray:
    """Rows, many of them equal to others or nearly so."""
    rows = unit_rows(rng, n, 24)
    rows[n // 3 : 2 * n // 3] = rows[: 2 * n // 3 - n // 3] + rng.normal(size=24) * 1e-7
    rows[2 * n // 3 :] = rows[rng.integers(max(1, 2 * n // 3), size=n - 2 * n // 3)]
    return rows.astype(storage).astype(np.float32)


def explore_plainly(a: np.ndarray, b: np.ndarray, held: int) -> float:
    """1 - the largest cosine, in float64, of an item (d,) with the failures (m, d) but the one held out."""
    cosines = []
    for place, failure in enumerate(b.astype(np.float64)):
        x = a.astype(np.float64)
        if place != held:
            cosines.append(math.fsum(x * failure) / math.sqrt(math.fsum(x * x) * math.fsum(failure * failure)))
    return 1 - max(cosines) if cosines else math.nan


def scale_plainly(window: list[float], raw: list[float], size: int, scaling: str) -> list[float]:
    """L6, a value at a time; for `request` the window is moved first."""
    values = [value for value in raw if not math.isnan(value)]
    moving = deque(window, size)
    if scaling == "request":
        moving = deque([*window, *values], max(size, len(values)))
    scaled = []
    for value in raw:
        if math.isnan(value):
            scaled.append(0.0)
            continue
        if scaling == "item":
            moving.append(value)
        low, high = min(moving), max(moving)
        scaled.append(0.0 if high - low < 1e-6 else (value - low) / (high - low + 1e-8))
    return scaled


def test_exploit_is_minus_the_distance_to_the_mean() -> None:
    rng = np.random.default_rng(0)
    a, read = unit_rows(rng, 30, 16), [unit_rows(rng, int(m), 16) for m in rng.integers(0, 6, size=30)]
    total = np.stack([rows.astype(np.float64).sum(axis=0) for rows in read])
    raw = exploit(a, total, np.array([len(rows) for rows in read]))
    for value, item, rows in zip(raw, a.astype(np.float64), read, strict=True):
        mean = [math.fsum(column) / len(rows) for column in rows.T.astype(np.float64)] if len(rows) else None
        plain = math.nan if mean is None else -math.dist(item, mean)
        assert value == pytest.approx(plain, abs=1e-12, nan_ok=True)


def test_exploit_of_what_is_the_mean_is_zero_and_of_its_opposite_minus_two() -> None:
    a = np.array([[1, 0], [-1, 0]], np.float32)
    raw = exploit(a, np.array([[3.0, 0.0], [3.0, 0.0]]), np.array([3, 3]))
    assert raw.tolist() == [0, -2]


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


def test_explore_of_a_known_failure_is_zero_unless_that_is_held_out() -> None:
    b = unit_rows(np.random.default_rng(1), 5, 24)
    raw = explore(b[[2, 2]], b, np.array([-1, 2]), MARGINS["float32"])
    assert raw[0] == 0 < raw[1]


@pytest.mark.parametrize("chunk", [1024, 16])
def test_an_item_that_reads_several_parts_sees_the_nearest_of_all(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
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
            left = [place for place in range(start, stop) if place != out]
            seen[item] = np.concatenate([seen[item], b[left]])
    raw = novelty(a, b, parts, MARGINS["float32"])
    plain = [explore_plainly(item, failures, -1) for item, failures in zip(a, seen, strict=True)]
    np.testing.assert_allclose(raw, plain, rtol=0, atol=1e-12)
    assert np.isnan(raw[50:]).all()


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
def test_a_value_does_not_depend_on_what_else_is_in_the_batch(storage: str) -> None:
    rng = np.random.default_rng(3)
    a, b = unit_rows(rng, 70, 384, storage=storage), unit_rows(rng, 90, 384, storage=storage)
    held, count = rng.integers(-1, 90, size=70), rng.integers(1, 9, size=70)
    total = rng.normal(size=(70, 384))
    together = explore(a, b, held, MARGINS[storage]), exploit(a, total, count)
    for i in range(70):
        one = slice(i, i + 1)
        assert explore(a[one], b, held[one], MARGINS[storage])[0] == together[0][i]
        assert exploit(a[one], total[one], count[one])[0] == together[1][i]
    order = rng.permutation(90)
    places = np.where(held >= 0, np.argsort(order)[held], -1)
    np.testing.assert_array_equal(explore(a, b[order], places, MARGINS[storage]), together[0])


def test_arguments_stay_as_they_are() -> None:
    rng = np.random.default_rng(4)
    a, b, held = unit_rows(rng, 4), unit_rows(rng, 5), np.array([-1, 0, 1, 2])
    total, count, window, raw = b[:4].astype(np.float64), np.array([1, 2, 0, 1]), rng.normal(size=3), rng.normal(size=4)
    arguments = [a, b, held, total, count, window, raw]
    for one in arguments:
        one.flags.writeable = False
    exploit(a, total, count)
    explore(a, b, held, MARGINS["float32"])
    for scaling in ("item", "request"):
        center(scale(window, raw, 3, scaling), held + 1)
    slide(window, raw, 3)


@settings(max_examples=300, deadline=None)
@given(window=WINDOW, values=VALUES, size=SIZES)
def test_the_sliding_bounds_are_those_of_a_deque(window: list[float], values: list[float], size: int) -> None:
    window, values = window[-size:], [value for value in values if not math.isnan(value)]
    lowest, highest = window_bounds(np.array(window), np.array(values), size)
    moving = deque(window, size)
    for value, low, high in zip(values, lowest, highest, strict=True):
        moving.append(value)
        assert (low, high) == (min(moving), max(moving))


@pytest.mark.parametrize("n", [0, 1, 99, 100, 101, 1000])
@pytest.mark.parametrize("size", [1, 2, 100, 5000])
@pytest.mark.parametrize("held", [0, 1, 100])
def test_the_sliding_bounds_are_right_for_any_lengths(n: int, size: int, held: int) -> None:
    rng = np.random.default_rng(n)
    window, values = rng.normal(size=min(held, size)), rng.normal(size=n)
    lowest, highest = window_bounds(window, values, size)
    everything = np.concatenate([window, values])
    ends = range(len(window) + 1, len(everything) + 1)
    assert lowest.tolist() == [everything[max(0, end - size) : end].min() for end in ends]
    assert highest.tolist() == [everything[max(0, end - size) : end].max() for end in ends]


@settings(max_examples=300, deadline=None)
@given(window=WINDOW, raw=VALUES, size=SIZES, scaling=st.sampled_from(["item", "request"]))
def test_scaling_is_the_laws(window: list[float], raw: list[float], size: int, scaling: str) -> None:
    window = window[-size:]
    scaled = scale(np.array(window), np.array(raw, np.float64), size, scaling)
    assert scaled.tolist() == scale_plainly(window, raw, size, scaling)
    assert ((scaled >= 0) & (scaled <= 1)).all()


@settings(max_examples=100, deadline=None)
@given(window=WINDOW, raw=VALUES, size=SIZES)
def test_the_window_keeps_the_newest_defined_values(window: list[float], raw: list[float], size: int) -> None:
    kept = deque(window[-size:], size)
    kept.extend(value for value in raw if not math.isnan(value))
    assert slide(np.array(window[-size:]), np.array(raw, np.float64), size).tolist() == list(kept)


@settings(max_examples=100, deadline=None)
@given(window=WINDOW, raw=st.lists(st.floats(-2, 2), min_size=1, max_size=30), size=SIZES, seed=st.integers(0, 9))
def test_scaling_a_request_does_not_depend_on_its_order(
    window: list[float], raw: list[float], size: int, seed: int
) -> None:
    order = np.random.default_rng(seed).permutation(len(raw))
    values, before = np.array(raw), np.array(window[-size:])
    scaled = scale(before, values, size, "request")
    np.testing.assert_array_equal(scale(before, values[order], size, "request"), scaled[order])


def test_scaling_minus_a_distance_is_one_minus_scaling_the_distance() -> None:
    distance = np.random.default_rng(5).uniform(0, 2, size=200)
    mirrored = scale(np.empty(0), -distance, 50, "item")
    np.testing.assert_allclose(mirrored[1:], 1 - scale(np.empty(0), distance, 50, "item")[1:], atol=1e-5)


@settings(max_examples=100, deadline=None)
@given(pairs=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 5)), max_size=30))
def test_centering_subtracts_the_groups_mean(pairs: list[tuple[float, int]]) -> None:
    scaled, group = [value for value, _ in pairs], [number for _, number in pairs]
    centered = center(np.array(scaled), np.array(group, np.int64))
    for value, own, result in zip(scaled, group, centered, strict=True):
        siblings = [one for one, number in pairs if number == own]
        assert result == pytest.approx(value - math.fsum(siblings) / len(siblings), abs=1e-12)


def test_the_reward_is_the_weighted_sum() -> None:
    scaled = {"exploit": np.array([0.5, 1.0]), "explore": np.array([0.25, 0.0])}
    assert weighted_sum(scaled, {"exploit": 2.0, "explore": -1.0}, 2).tolist() == [0.75, 2.0]
    assert weighted_sum(scaled, {"explore": 4.0}, 2).tolist() == [1.0, 0.0]
    assert weighted_sum({"exploit": np.empty(0)}, {"exploit": 1.0}, 0).tolist() == []
