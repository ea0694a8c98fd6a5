"""The sliding window (law L6) against a deque, a value at a time."""

from __future__ import annotations

import math
from collections import deque

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from memr_service.state.window import scale, slide, window_bounds

VALUES = st.lists(
    st.one_of(
        st.floats(-2, 2), st.sampled_from([0.0, -1.0, 1e-7, -1e-7, 5e-7]), st.just(math.nan)
    ),
    max_size=40,
)  # fmt: skip
WINDOW = st.lists(st.floats(-2, 2), max_size=12)
SIZES = st.integers(1, 12)


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


@pytest.mark.slow
@settings(max_examples=3 * settings.default.max_examples)
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


@settings(max_examples=3 * settings.default.max_examples)
@given(window=WINDOW, raw=VALUES, size=SIZES, scaling=st.sampled_from(["item", "request"]))
def test_scaling_follows_law_l6(window: list[float], raw: list[float], size: int, scaling: str) -> None:
    window = window[-size:]
    scaled = scale(np.array(window), np.array(raw, np.float64), size, scaling)
    assert scaled.tolist() == scale_plainly(window, raw, size, scaling)
    assert ((scaled >= 0) & (scaled <= 1)).all()


@given(window=WINDOW, raw=VALUES, size=SIZES)
def test_the_window_keeps_the_newest_defined_values(window: list[float], raw: list[float], size: int) -> None:
    kept = deque(window[-size:], size)
    kept.extend(value for value in raw if not math.isnan(value))
    assert slide(np.array(window[-size:]), np.array(raw, np.float64), size).tolist() == list(kept)


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


@pytest.mark.parametrize("scaling", ["item", "request"])
def test_arguments_are_not_changed(scaling: str) -> None:
    rng = np.random.default_rng(4)
    window, raw = rng.normal(size=3), rng.normal(size=4)
    for one in (window, raw):
        one.flags.writeable = False
    scale(window, raw, 3, scaling)
    slide(window, raw, 3)


def test_a_scaled_value_moves_at_most_twice_what_raw_values_move_over_the_range() -> None:
    rng = np.random.default_rng(0)
    for spread, most in ((1.0, 3e-3), (0.05, 3e-3), (0.004, 1e-4)):
        raw = spread * rng.random(400)
        moved = raw + rng.uniform(-most, most, size=400)
        lowest, highest = window_bounds(np.empty(0), moved, 30)
        nothing = np.empty(0)
        differences = np.abs(scale(nothing, raw, 30, "item") - scale(nothing, moved, 30, "item"))
        bound = 2 * most / np.maximum(highest - lowest, 1e-6)
        assert (differences[1:] <= bound[1:] + 1e-5).all()
        assert differences.max() > 0.2 * np.median(bound)
