"""The controls: their distribution, and pinned values that must be the same on every machine."""

from __future__ import annotations

import math

import numpy as np
import pytest
from memr_service.rewards.components import random, shuffled


def test_arguments_are_not_changed_and_no_items_get_no_values() -> None:
    serials, values = np.arange(5), np.array([1.0, math.nan, 2.0])
    for one in (serials, values):
        one.flags.writeable = False
    random(0, serials)
    shuffled(values, 0, 0)
    assert random(0, serials[:0]).tolist() == shuffled(values[:0], 0, 0).tolist() == []


def test_random_numbers_are_uniform_differ_by_seed_and_have_pinned_values() -> None:
    numbers = random(7, np.arange(100_000))
    assert 0 <= numbers.min() < numbers.max() < 1
    assert np.histogram(numbers, 20, (0, 1))[0] == pytest.approx([5000] * 20, abs=350)
    assert abs(np.corrcoef(numbers[:-1], numbers[1:])[0, 1]) < 0.02
    assert abs(np.corrcoef(numbers, random(8, np.arange(100_000)))[0, 1]) < 0.02
    assert random(0, np.array([0, 1, 2**40])).tolist() == [0.6524484863740322, 0.7012121095215252, 0.142984370032623]


def test_shuffling_keeps_the_values_and_which_items_are_undefined() -> None:
    values = np.array([1.0, math.nan, 2.0, 3.0, math.nan, 4.0, 5.0, 6.0])
    dealt = shuffled(values, 1, 2)
    assert np.isnan(dealt).tolist() == np.isnan(values).tolist()
    assert sorted(dealt[~np.isnan(dealt)]) == [1, 2, 3, 4, 5, 6]
    assert dealt.tolist() != shuffled(values, 1, 3).tolist()
    assert np.isnan(shuffled(np.full(3, math.nan), 0, 0)).all()


@pytest.mark.slow
def test_shuffling_gives_each_value_to_each_item_equally_often() -> None:
    counts = np.zeros((4, 4))
    for position in range(8000):
        counts[np.arange(4), shuffled(np.arange(4.0), 0, position).astype(int)] += 1
    assert counts.ravel() == pytest.approx([2000] * 16, abs=200)
