"""Each figure of a stretch against a plain loop or a case computed by hand."""

from __future__ import annotations

import numpy as np
import pytest
from memr_service.insight.audits import diagnostics
from support.batches import unit_rows


def test_zero_variance_is_the_share_of_groups_with_one_outcome() -> None:
    outcomes, group = np.array([1.0, 1.0, 0.0, 1.0, 0.2, 0.2]), np.array([0, 0, 1, 1, 2, 2])
    assert diagnostics.zero_variance(outcomes, group) == pytest.approx(2 / 3)


def test_component_shares_add_up_to_one() -> None:
    scaled = {"a": np.array([0.5, 0.5]), "b": np.array([0.1, 0.3]), "c": np.zeros(2)}
    shares = diagnostics.component_shares(scaled, {"a": 1.0, "b": -2.5, "c": 1.0})
    assert shares == pytest.approx({"a": 0.5, "b": 0.5, "c": 0.0})


def test_the_memory_has_all_of_the_variance_if_outcomes_are_equal() -> None:
    group, rewards = np.array([0, 0, 1, 1, 2, 2]), np.array([0.0, 1.0, 0.0, 0.0, 0.5, 0.0])
    outcomes = np.array([0.0, 0.0, 0.0, 1.0, 1.0, 1.0])
    shares = diagnostics.memory_shares(outcomes, rewards, group, outcomes > 0.5)
    # Squared advantages: 0.5 from the memory among the wrong, 0.5 from the verifier, 0.125 from the memory.
    assert shares == pytest.approx({"all_wrong": 0.5 / 1.125, "mixed": 0.0, "all_right": 0.125 / 1.125})


def test_a_memory_that_opposes_the_verifier_has_a_negative_share() -> None:
    group, outcomes = np.array([0, 0]), np.array([0.0, 1.0])
    shares = diagnostics.memory_shares(outcomes, np.array([0.5, 0.0]), group, outcomes > 0.5)
    assert shares["mixed"] == pytest.approx(-1.0)


def test_diversity_is_one_minus_the_mean_cosine_of_pairs() -> None:
    rng = np.random.default_rng(0)
    a, group = unit_rows(rng, 11), np.array([0, 1, 1, 0, 2, 0, 1, 0, 3, 3, 1])
    expected = []
    for number in range(4):
        mine = a[group == number]
        pairs = [1 - float(mine[i] @ mine[j]) for i in range(len(mine)) for j in range(i)]
        expected += [np.mean(pairs)] if pairs else []
    assert len(expected) == 3
    assert diagnostics.diversity(a, group) == pytest.approx(np.mean(expected), abs=1e-6)


def test_the_vendi_score_counts_different_completions() -> None:
    eye = np.eye(8, dtype=np.float32)
    assert diagnostics.vendi(eye[[0, 1, 2, 3]], np.zeros(4, int)) == pytest.approx(4, rel=1e-6)
    assert diagnostics.vendi(eye[[0, 0, 1, 1]], np.zeros(4, int)) == pytest.approx(2, rel=1e-6)
    assert diagnostics.vendi(eye[[5, 5, 5]], np.zeros(3, int)) == pytest.approx(1, rel=1e-6)
    mixed = diagnostics.vendi(eye[[0, 1, 2, 2, 2]], np.array([1, 1, 0, 0, 0]))
    assert mixed == pytest.approx(1.5, rel=1e-6)
    assert np.isnan(diagnostics.vendi(eye[:2], np.array([0, 1])))


def test_a_failure_can_repeat_a_sibling_or_a_failure_it_read() -> None:
    eye = np.eye(8, dtype=np.float32)
    completions, group = eye[[0, 0, 1, 2, 2]], np.array([0, 0, 0, 0, 1])
    wrong = np.array([True, True, True, False, True])
    assert diagnostics.repeated_failures(completions, group, wrong, None) == pytest.approx(2 / 4)
    explore = np.array([0.9, 0.9, 0.04, 0.0, np.nan])
    assert diagnostics.repeated_failures(completions, group, wrong, explore) == pytest.approx(3 / 4)
    assert np.isnan(diagnostics.repeated_failures(completions, group, ~np.ones(5, bool), None))


def test_completions_are_nearest_to_their_own_prompt_and_templates_are_not() -> None:
    rng = np.random.default_rng(1)
    prompts = np.repeat(unit_rows(rng, 10, 64), 4, axis=0)
    keys = [bytes([number]) for number in np.repeat(np.arange(10), 4)]
    near = prompts + 0.3 * unit_rows(rng, 40, 64)
    assert diagnostics.own_prompt(near, prompts, keys) == pytest.approx(1)
    template = np.repeat(unit_rows(rng, 1, 64), 40, axis=0)
    assert diagnostics.own_prompt(template, prompts, keys) == pytest.approx(0)
    assert np.isnan(diagnostics.own_prompt(near[:4], prompts[:4], keys[:4]))


def test_a_median_moves_in_units_of_the_earlier_spread() -> None:
    assert diagnostics.moved((0.0, 0.1, 0.2), (0.2, 0.4, 0.8)) == pytest.approx(-0.5)
