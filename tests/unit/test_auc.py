"""AUC and correlation within groups, against plain loops."""

from __future__ import annotations

import numpy as np
import pytest
from memr_service.insight.auc import auc_by_group, correlation


def plain_auc(values: np.ndarray, right: np.ndarray) -> float:
    pairs = [(r > w) + 0.5 * (r == w) for r in values[right] for w in values[~right]]
    return sum(pairs) / len(pairs)


@pytest.mark.parametrize("seed", range(5))
def test_the_auc_of_a_group_is_that_of_all_its_pairs(seed: int) -> None:
    rng = np.random.default_rng(seed)
    group, right = rng.integers(40, size=300), rng.random(300) < 0.4
    values = rng.integers(4, size=300) / 3  # many ties
    values[rng.random(300) < 0.2] = np.nan
    expected = []
    for number in np.unique(group):
        mine = (group == number) & ~np.isnan(values)
        if right[mine].any() and not right[mine].all():
            expected.append(plain_auc(values[mine], right[mine]))
    assert len(expected) > 10
    assert auc_by_group(values, right, group) == pytest.approx(expected, abs=1e-12)


def test_a_group_without_both_sides_has_no_auc() -> None:
    assert len(auc_by_group(np.arange(4.0), np.array([True, True, False, False]), np.array([0, 0, 1, 1]))) == 0
    assert len(auc_by_group(np.full(3, np.nan), np.array([True, False, True]), np.zeros(3, int))) == 0


def test_correlation_equals_numpys_and_is_none_if_nothing_varies() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 50))
    assert correlation(x, y) == pytest.approx(np.corrcoef(x, y)[0, 1])
    assert correlation(x, np.ones(50)) is None
