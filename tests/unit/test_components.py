"""Edge cases of each component; `tests/service/test_twins.py` compares them with their plain twins."""

from __future__ import annotations

import math

import numpy as np
import pytest
from memr_service.rewards.components import banded_novelty, contrast, error_cluster, outcome_ucb, partition, value
from memr_service.rewards.components.error_cluster import cluster_sizes
from memr_service.rewards.components.partition import union_find
from support import plain_components as plain
from support.batches import unit_rows
from support.groups import Request, means, requests

NOBODY = np.empty((0, 4), np.float32)
NONE = np.empty(0, np.int64)
E1, E2, E3 = np.eye(4, dtype=np.float32)[:3]


def test_arguments_are_not_changed() -> None:
    request = next(requests())
    held, seen = np.full(len(request.a), -1), request.column(0.5)
    good, bad, has = means(request)
    for one in (request.a, request.group, request.outcome, request.failures, held, seen, good, bad, has):
        one.flags.writeable = False
    error_cluster(request.a, request.failures, held, ~request.right)
    banded_novelty(request.a, request.group, request.right)
    contrast(request.a, good, bad, has)
    value(request.a, request.a)
    outcome_ucb(seen)
    partition(None, request.a, request.group, request.outcome)
    partition(request.group, request.a, request.group, request.outcome)


def test_no_items_get_no_values() -> None:
    no, columns = np.empty(0), np.empty((0, 3))
    assert error_cluster(NOBODY, np.stack([E1]), NONE, NONE.astype(bool)).tolist() == []
    assert banded_novelty(NOBODY, NONE, NONE.astype(bool)).tolist() == []
    assert contrast(NOBODY, NOBODY, NOBODY, NONE.astype(bool)).tolist() == []
    assert value(columns, columns).tolist() == []
    assert outcome_ucb(no).tolist() == []
    assert partition(None, NOBODY, NONE, no).tolist() == []
    assert partition(NONE, NOBODY, NONE, no).tolist() == []


def test_group_components_are_undefined_for_an_item_without_siblings() -> None:
    alone, own = np.stack([E1]), np.zeros(1, np.int64)
    assert np.isnan(banded_novelty(alone, own, np.ones(1, bool))).all()
    assert np.isnan(partition(None, alone, own, np.ones(1))).all()
    assert np.isnan(partition(own, alone, own, np.ones(1))).all()


def test_a_groups_values_do_not_depend_on_other_groups() -> None:
    def pay(request: Request, own: np.ndarray) -> list[np.ndarray]:
        a, group, outcome, right = request.a[own], request.group[own], request.outcome[own], request.right[own]
        return [
            error_cluster(a, request.failures, np.full(len(a), -1), ~right),
            banded_novelty(a, group, right),
            partition(None, a, group, outcome),
        ]

    for request in requests(100):
        together = pay(request, np.arange(len(request.a)))
        for number in range(5):
            own = np.flatnonzero(request.group == number)
            for apart, all_of_it in zip(pay(request, own), together, strict=True):
                np.testing.assert_array_equal(apart, all_of_it[own])


# error_cluster


def test_the_penalty_grows_with_the_repetitions_up_to_the_limit() -> None:
    penalties = [
        error_cluster(np.stack([E1]), np.stack([E1] * times + [E2]), np.array([-1]), np.array([True]))[0]
        for times in (0, 1, 6, 7, 100)
    ]
    assert penalties == pytest.approx([0, -0.1 * math.log(2), -0.1 * math.log(7), -0.2, -0.2])
    assert not np.signbit(penalties[0])


def test_a_first_mistake_and_a_right_answer_cost_nothing() -> None:
    a, held, wrong = np.stack([E1, E1]), np.array([-1, -1]), np.array([True, False])
    assert error_cluster(a, NOBODY, held, wrong).tolist() == [0, 0]
    assert error_cluster(a, np.stack([E1]), held, wrong).tolist() == pytest.approx([-0.1 * math.log(2), 0])
    assert error_cluster(a, np.stack([E1]), held, ~np.array([True, True])).tolist() == [0, 0]


def test_the_held_out_failure_is_not_counted() -> None:
    a, failures = np.stack([E1, E1, E2]), np.stack([E1, E1, E2])
    assert cluster_sizes(a, failures, np.array([-1, 0, 2]), 0.9).tolist() == [2, 1, 0]


@pytest.mark.parametrize("storage", ["float32", "float16"])
def test_cosines_close_to_the_limit_are_decided_in_float64(storage: str) -> None:
    rng = np.random.default_rng(0)
    a = unit_rows(rng, 40, 384, storage)
    near = np.repeat(a[:1], 300, axis=0) + 1e-3 * rng.normal(size=(300, 384))
    b = (near / np.linalg.norm(near, axis=1, keepdims=True)).astype(storage).astype(np.float32)
    cosines = [plain.cosine(a[0].tolist(), row.tolist()) for row in b]
    for limit in sorted(cosines)[::60]:
        limit += 1e-12
        count = cluster_sizes(a[:1], b, np.array([-1]), limit)[0]
        assert count == sum(cosine >= limit for cosine in cosines)
    assert cluster_sizes(a, a, np.full(40, -1), 1.0).tolist() == [1] * 40


# banded_novelty


def test_right_answers_stay_above_all_wrong_ones() -> None:
    for request in requests(200):
        banded = banded_novelty(request.a, request.group, request.right)
        right, wrong = banded[request.right & ~np.isnan(banded)], banded[~request.right & ~np.isnan(banded)]
        assert ((right >= 0.5) & (right <= 1)).all()
        assert ((wrong >= -1) & (wrong <= -0.5)).all()


def test_the_most_novel_item_of_a_class_gets_the_top_of_its_band_and_so_does_the_only_one() -> None:
    a, group = np.stack([E1, E1, E2, E3]), np.zeros(4, np.int64)
    assert banded_novelty(a, group, np.array([True, True, True, False])).tolist() == [0.5, 0.5, 1.0, -0.5]
    assert banded_novelty(a, group, np.array([False, False, False, True])).tolist() == [-1.0, -1.0, -0.5, 1.0]


@pytest.mark.parametrize("correct", [True, False])
def test_equally_novel_siblings_get_the_middle_of_their_band(correct: bool) -> None:
    for a in (np.stack([E1] * 5), np.stack([E1, E2, E3])):
        banded = banded_novelty(a, np.zeros(len(a), np.int64), np.full(len(a), correct))
        assert banded.tolist() == pytest.approx([0.75 if correct else -0.75] * len(a))


def test_a_larger_flat_keeps_paraphrases_together() -> None:
    rng = np.random.default_rng(1)
    a = np.tile(rng.normal(size=64), (6, 1)) + 0.01 * rng.normal(size=(6, 64))
    group, right = np.zeros(6, np.int64), np.ones(6, bool)
    stretched, kept = banded_novelty(a, group, right), banded_novelty(a, group, right, flat=0.05)
    assert np.ptp(stretched) == 0.5
    assert np.ptp(kept) < 0.01
    assert np.argsort(stretched).tolist() == np.argsort(kept).tolist()


# contrast, value, outcome_ucb


def test_contrast_is_positive_on_the_side_of_the_successes_and_undefined_without_both() -> None:
    a = np.stack([E1, E2, E3, E1])
    success, failure = np.tile(E1, (4, 1)).astype(np.float64), np.tile(E2, (4, 1)).astype(np.float64)
    raw = contrast(a, success, failure, np.array([True, True, True, False]))
    assert raw[:3].tolist() == [1, -1, 0]
    assert np.isnan(raw[3])


def test_value_follows_the_nearest_and_is_undefined_without_any() -> None:
    similarity = np.array([[0.9, 0.2, -np.inf], [-np.inf] * 3, [0.5, 0.5, -np.inf]])
    raw = value(similarity, np.array([[1.0, 0.0, math.nan]] * 3))
    assert raw[0] == pytest.approx(1, abs=1e-5)
    assert math.isnan(raw[1])
    assert raw[2] == 0.5


def test_value_without_neighbours_is_undefined() -> None:
    assert np.isnan(value(np.empty((2, 0)), np.empty((2, 0)))).all()


def test_value_depends_neither_on_the_order_of_the_neighbours_nor_on_missing_ones() -> None:
    rng = np.random.default_rng(2)
    similarity, outcome, order = rng.uniform(-1, 1, size=(5, 7)), rng.normal(size=(5, 7)), rng.permutation(40)
    padded = [np.pad(one, [(0, 0), (0, 33)], constant_values=-np.inf)[:, order] for one in (similarity, outcome)]
    np.testing.assert_array_equal(value(*padded), value(similarity, outcome))


def test_a_new_answer_earns_half_and_a_frequent_one_costs() -> None:
    assert outcome_ucb(np.array([1, 4, 100])).tolist() == pytest.approx([0.5, 0.0, -0.4])
    assert np.isnan(outcome_ucb(np.array([0, math.nan]))).all()


# partition


def test_a_unique_idea_is_paid_in_full_and_one_that_all_share_not_at_all() -> None:
    a, group, outcome = np.stack([E1, E1, E2, E3]), np.array([0, 0, 0, 1]), np.array([1.0, 1.0, 2.0, 1.0])
    assert partition(None, a, group, outcome).tolist()[:3] == [0.5, 0.5, 2.0]
    assert partition(np.zeros(4, int), a, group, outcome).tolist()[:3] == [0, 0, 0]
    assert partition(np.zeros(4, int), a, group, outcome, floor=0.1).tolist()[:3] == pytest.approx([0.1, 0.1, 0.2])


def test_an_item_without_a_label_among_labelled_ones_is_undefined() -> None:
    a, group = np.stack([E1, E2, E3]), np.zeros(3, np.int64)
    paid = partition(np.array([-1, 7, -2]), a, group, np.ones(3))
    assert np.isnan(paid).tolist() == [True, False, True]
    assert paid[1] == 1


def test_equal_completions_share_a_class_at_any_similarity() -> None:
    rng = np.random.default_rng(3)
    a = rng.normal(size=(50, 384)).astype(np.float32)
    group = np.repeat(np.arange(50), 2)
    assert partition(None, np.repeat(a, 2, axis=0), group, np.ones(100), similarity=1.0).tolist() == [0] * 100


def test_union_find_joins_chains_and_names_a_class_after_its_smallest_member() -> None:
    assert union_find(6, [(4, 5), (1, 3), (3, 4)]).tolist() == [0, 1, 2, 1, 1, 1]
    assert union_find(3, []).tolist() == [0, 1, 2]
    assert union_find(0, []).tolist() == []
    chain = [(item, item + 1) for item in range(999)]
    assert set(union_find(1000, reversed(chain)).tolist()) == {0}
