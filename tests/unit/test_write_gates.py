"""Write gates: which completions they keep out of the memory, and the reasons they report."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from memr_service.rewards import write_gates
from memr_service.rewards.score import score
from memr_service.state.record import Batch, Effects
from memr_service.state.state import State
from support.batches import config, make_batch, prompt_row, unit_rows

RIGHT, WRONG = 1.0, 0.0


def batch_of(outcomes: list[float], names: str | None = None, **columns: Any) -> Batch:
    """A batch under prompt A, or under a prompt for each letter, with these columns in place of its own."""
    rows = unit_rows(np.random.default_rng(0), len(outcomes))
    return replace(make_batch(list(names or "A" * len(outcomes)), rows, outcomes), **columns)


def gated(batch: Batch, order: str = "hold_one_out", **given: Any) -> Effects:
    chosen = config(memory={"gates": given}, order=order)
    return score(State(chosen), batch, write=True)


def test_each_gate_blocks_the_items_it_is_for_and_reports_why() -> None:
    rows = unit_rows(np.random.default_rng(1), 3)
    rows[1] = prompt_row("A")
    batch = batch_of(
        [RIGHT, RIGHT, WRONG],
        completions=rows,
        lengths=np.array([5, 50, 500], "<i4"),
        repeated=np.array([0.9, 0.1, 0.1]),
        truncated=np.array([False, True, True]),
        answers=["18", "18", "42"],
    )
    for given, kept_out in (
        ({"topic_floor": 0.99}, [["memory:off_topic"], [], ["memory:off_topic"]]),
        ({"min_chars": 10}, [["memory:too_short"], [], []]),
        ({"max_chars": 100}, [[], [], ["memory:too_long"]]),
        ({"max_repetition": 0.5}, [["memory:repetitive"], [], []]),
        ({"drop_truncated": True}, [[], ["memory:truncated"], []]),
        ({"min_chars": 10, "max_repetition": 0.5}, [["memory:too_short", "memory:repetitive"], [], []]),
    ):
        effects = gated(batch, **given)
        assert effects.rejected == kept_out
        stored = sorted([*effects.success.item.tolist(), *effects.failure.item.tolist()])
        assert stored == [item for item in range(3) if not kept_out[item]]


def test_agreement_asks_a_success_for_a_sibling_with_the_same_answer_and_a_failure_for_none() -> None:
    batch = batch_of([RIGHT, RIGHT, RIGHT, RIGHT, WRONG], "AAABA", answers=["18", "18", None, "18", "7"])
    effects = gated(batch, agreement=True)
    assert effects.rejected == [[], [], ["memory:lone_answer"], ["memory:lone_answer"], []]
    assert (effects.success.item.tolist(), effects.failure.item.tolist()) == ([0, 1], [4])
    assert gated(replace(batch, answers=None), agreement=True).success.item.tolist() == []


def test_items_that_the_outcome_would_not_store_are_not_reported() -> None:
    chosen = config(memory={"gates": {"min_chars": 10}}, success_threshold=0.8, failure_threshold=0.2)
    batch = batch_of([0.5, RIGHT], lengths=np.zeros(2, "<i4"))
    assert score(State(chosen), batch, write=True).rejected == [[], ["memory:too_short"]]
    assert score(State(chosen), batch, write=False).rejected == []


@pytest.mark.parametrize("order", ["hold_one_out", "read_first"])
def test_a_blocked_completion_is_scored_like_one_between_the_thresholds(order: str) -> None:
    lengths = np.array([100, 1, 100, 100], "<i4")
    blocked = gated(batch_of([RIGHT, RIGHT, RIGHT, WRONG], lengths=lengths), order, min_chars=10)
    chosen = config(order=order, success_threshold=0.8, failure_threshold=0.2)
    between = score(State(chosen), batch_of([RIGHT, 0.5, RIGHT, WRONG]), write=True)
    for name in ("exploit", "explore"):
        np.testing.assert_array_equal(blocked.raw[name], between.raw[name])
    np.testing.assert_array_equal(blocked.support["success"], between.support["success"])


def test_rejections_of_guards_and_gates_are_reported_together() -> None:
    chosen = config(
        components={"exploit": {"weight": 1.0, "guards": {"min_chars": 10}}}, memory={"gates": {"max_chars": 200}}
    )
    batch = batch_of([RIGHT, WRONG, RIGHT], lengths=np.array([1, 300, 50], "<i4"))
    effects = score(State(chosen), batch, write=True)
    assert effects.rejected == [["exploit:too_short"], ["memory:too_long"], []]


def test_without_gates_nothing_is_blocked() -> None:
    assert write_gates.blocked(config(), batch_of([RIGHT]), np.array([True]), np.array([False])) == {}
