"""Statistics of groups against plain loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from memr_service.rewards.groups import center, diversity, extremes, means
from support.batches import cosine, unit_rows

PAIRS = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 5)), max_size=30)


def columns(pairs: list[tuple[float, int]]) -> tuple[np.ndarray, np.ndarray]:
    """Values and their groups' numbers."""
    return np.array([value for value, _ in pairs]), np.array([number for _, number in pairs], np.int64)


def members(pairs: list[tuple[float, int]], number: int) -> list[float]:
    return [value for value, own in pairs if own == number]


@given(pairs=PAIRS)
def test_centering_subtracts_the_groups_mean(pairs: list[tuple[float, int]]) -> None:
    for (value, own), centered in zip(pairs, center(*columns(pairs)), strict=True):
        siblings = members(pairs, own)
        assert centered == pytest.approx(value - math.fsum(siblings) / len(siblings), abs=1e-12)


@given(pairs=PAIRS)
def test_means_and_extremes_are_those_of_each_groups_values(pairs: list[tuple[float, int]]) -> None:
    mean, (lowest, highest) = means(*columns(pairs)), extremes(*columns(pairs))
    assert len(mean) == len(lowest) == len(highest) == max([number for _, number in pairs], default=-1) + 1
    for number in range(len(mean)):
        own = members(pairs, number)
        assert mean[number] == pytest.approx(math.fsum(own) / len(own) if own else 0)
        assert (lowest[number], highest[number]) == (min(own, default=math.inf), max(own, default=-math.inf))


@pytest.mark.parametrize("in_order", [True, False])
def test_diversity_is_one_minus_the_mean_cosine_of_each_groups_pairs(in_order: bool) -> None:
    rng = np.random.default_rng(0)
    a, group = unit_rows(rng, 12), np.array([0, 0, 0, 1, 3, 3, 3, 3, 3, 4, 4, 4])  # group 1 is one item, group 2 empty
    if not in_order:
        order = rng.permutation(12)
        a, group = a[order], group[order]
    expected = []
    for number in (0, 3, 4):
        own = np.flatnonzero(group == number)
        pairs = [cosine(a[i], a[j]) for i in own for j in own if i < j]
        expected.append(1 - math.fsum(pairs) / len(pairs))
    assert diversity(a, group) == pytest.approx(expected, abs=1e-6)


def test_no_items_have_no_statistics() -> None:
    values, group = np.empty(0), np.empty(0, np.int64)
    for result in (center(values, group), means(values, group), *extremes(values, group)):
        assert result.tolist() == []
    assert diversity(np.empty((0, 4)), group).tolist() == []


def test_arguments_are_not_changed() -> None:
    a, values, group = unit_rows(np.random.default_rng(4), 4), np.arange(4.0), np.array([0, 1, 2, 0])
    for one in (a, values, group):
        one.flags.writeable = False
    center(values, group)
    means(values, group)
    extremes(values, group)
    diversity(a, group)
