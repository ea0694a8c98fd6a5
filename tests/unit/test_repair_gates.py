"""Which references are overruled, and what then counts: the gates equal their plain twin."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from memr_client.schemas import Repair, RunConfig
from memr_service.rewards.repair import favoured, overruled, repairs, slope
from memr_service.state import record_check
from memr_service.state.answers import Given, Prompt, Visit
from memr_service.state.codec import seal, unseal
from memr_service.state.decisions import Decision
from memr_service.state.record import Batch, Effects, Record
from memr_service.state.state import State
from pydantic import ValidationError
from support.answers import PlainAnswers
from support.batches import config
from support.repair import plain_favourite

ANSWER = st.sampled_from("aaaab")
ITEM = st.tuples(st.integers(0, 1), st.one_of(st.none(), ANSWER, ANSWER), st.booleans())
HISTORY = st.lists(
    st.tuples(st.lists(ITEM, min_size=1, max_size=10), st.one_of(st.none(), st.integers(0, 4))), max_size=12
)
RULES = st.builds(
    Repair,
    mode=st.sampled_from(["mask", "replace"]),
    visits=st.integers(1, 4),
    share=st.sampled_from([0.0, 0.5, 0.7]),
    margin=st.sampled_from([None, 0.25, 0.5]),
    trend=st.sampled_from([None, -0.113, 0.013]),
)


def key(number: int) -> bytes:
    return bytes([number + 1]) * 16


def text(number: int) -> bytes:
    return bytes([number + 1]) * 32


def batch(numbers: list[int], answers: list[str | None] | None, step: int | None, **fields: Any) -> Batch:
    n = len(numbers)
    given: dict[str, Any] = {
        "keys": [key(number) for number in numbers],
        "outcomes": np.array([float(answer == "b") for answer in answers or [None] * n]),
        "answers": answers,
        "references": ["b"] * n,
        "texts": np.frombuffer(b"".join(map(text, numbers)), np.uint8).reshape(n, 32),
        "step": step,
    }
    return replace(Batch.empty(1), **(given | fields))


def state(rule: Repair, group_size: int | None = None) -> State:
    return State(config(repair=rule, group_size=group_size))


@settings(max_examples=30)
@given(history=HISTORY, rule=RULES, group_size=st.one_of(st.none(), st.integers(1, 5)))
def test_what_is_overruled_is_what_the_plain_twin_says(history: Any, rule: Repair, group_size: int | None) -> None:
    run, plain, serial = state(rule, group_size), PlainAnswers(group_size), 0
    assert run.answers is not None
    for now, (items, step) in enumerate(history):
        numbers, answers, odd = (list(column) for column in zip(*items, strict=True))
        outcomes = [
            float((answer == "b") != (wrong and answer == "a")) for answer, wrong in zip(answers, odd, strict=True)
        ]
        sent = batch(numbers, answers, step, outcomes=np.array(outcomes))
        expected = [plain_favourite(plain, rule, one, step) for one in sent.keys]
        found = repairs(run, sent, write=True)
        assert found is not None
        assert found.answers == expected
        assert [one is not None for one in found.why] == [one is not None for one in expected]
        for item, answer in enumerate(expected):
            judged = {"mask": 0.0, "replace": float(answers[item] == answer)}[rule.mode]
            assert found.outcomes[item] == (outcomes[item] if answer is None else judged)
        run.answers.count(sent, now, serial)
        plain.record(sent.keys, answers, ["b"] * len(numbers), [one > 0.5 for one in outcomes], step, now)
        serial += len(items)


def visits(*counts: dict[str, int], size: int = 8) -> list[Visit]:
    return [Visit(step, size, one) for step, one in enumerate(counts)]


def test_the_rule_of_olr_is_one_setting() -> None:
    """Its label is the mode of the newest group, if the share of each group's mode rises by 0.05 a visit, and if it is
    the mode of the modes as well."""
    olr = Repair(mode="replace", visits=4, share=0.0, margin=None, trend=0.05)
    rising = visits({"a": 3, "b": 2}, {"a": 4}, {"b": 4, "a": 3}, {"a": 5})
    prompt = Prompt(reference="b")
    found = overruled(olr, prompt, rising)
    assert found is not None
    assert (found.answer, slope([3 / 8, 4 / 8, 4 / 8, 5 / 8])) == ("a", pytest.approx(0.075))
    assert overruled(olr, prompt, visits({"a": 4}, {"a": 4}, {"a": 4}, {"a": 5})) is None  # it does not rise enough
    assert overruled(olr, prompt, visits({"b": 3}, {"b": 4}, {"b": 4}, {"a": 7})) is None  # not the mode of the modes
    assert overruled(olr, prompt, visits({"a": 3}, {"a": 4}, {"a": 5}, {"a": 4, "b": 4})) is None  # a tie
    assert overruled(olr, prompt, rising[1:]) is None  # too few visits


@pytest.mark.parametrize(
    ("counts", "answer"),
    [
        ([{}], None),
        ([{"a": 1}], "a"),
        ([{"a": 1, "b": 1}], None),
        ([{"a": 2}, {"b": 2}], None),
        ([{"a": 2}, {"b": 2}, {"b": 2}], "b"),
        ([{"b": 2}, {"b": 2}, {"a": 2}], None),
        ([{"a": 1, "b": 1}, {"a": 2}], "a"),
    ],
)
def test_an_answer_is_favoured_now_and_over_all(counts: list[dict[str, int]], answer: str | None) -> None:
    assert favoured(visits(*counts)) == answer


def test_a_prior_run_has_to_agree_where_that_is_asked() -> None:
    rule, seen = Repair(visits=1, prior_run_agrees=True), visits({"a": 8})
    for earlier, agrees in (
        ([], False),
        ([Given(0, "a", 3, 1)], True),
        ([Given(0, "a", 3, 1), Given(0, "c", 3, 1)], False),
        ([Given(0, "c", 4, 1), Given(1, "a", 1, 1)], True),
    ):
        prompt = Prompt(reference="b", earlier=[list(one) for one in earlier])
        assert (overruled(rule, prompt, seen) is not None) is agrees


ALL_A: list[str | None] = ["a"] * 4


def after(run: State, *steps: int) -> State:
    """A run in which all completions of prompt 0 gave another answer than the reference in each of these steps."""
    assert run.answers is not None
    for step in steps:
        run.answers.count(batch([0] * 4, ALL_A, step), step, 4 * step)
    return run


def overruled_in(run: State, sent: Batch, write: bool = True) -> list[bool]:
    found = repairs(run, sent, write=write)
    assert found is not None
    return [one is not None for one in found.why]


def test_parts_of_a_step_are_treated_alike_whatever_came_before_them() -> None:
    run = after(state(Repair(visits=2)), 0, 1)
    assert run.answers is not None
    first = batch([0] * 4, ["b", "b", "b", "b"], 2)
    assert overruled_in(run, first) == [True] * 4
    run.answers.count(first, 2, 8)
    assert overruled_in(run, batch([0] * 2, ["c", "c"], 2)) == [True] * 2
    assert overruled_in(run, batch([0] * 2, ["a", "a"], 3)) == [False] * 2  # now it counts: the newest mode is b


def test_nothing_is_overruled_that_somebody_has_looked_at() -> None:
    run = after(state(Repair(visits=2)), 0, 1)
    sent = batch([0], ["a"], 2)
    assert overruled_in(run, sent) == [True]
    assert overruled_in(run, sent, write=False) == [False]  # an evaluation
    assert overruled_in(run, replace(sent, references=["c"])) == [False]  # the reference was corrected
    for decision in (Decision(key(0), bytes(32), None, None), Decision(key(9), text(0), None, "a")):
        run.decisions = type(run.decisions)([decision])
        assert overruled_in(run, sent) == [False]


def test_an_answer_that_was_judged_right_is_the_reference_in_another_form() -> None:
    run = after(state(Repair(visits=2)), 0)
    assert run.answers is not None
    run.answers.count(batch([0] * 4, ALL_A, 1, outcomes=np.array([0.0, 0.0, 0.0, 1.0])), 1, 4)
    assert overruled_in(run, batch([0], ["a"], 2)) == [False]


def test_without_answers_a_group_can_be_masked_but_not_judged() -> None:
    for mode, repaired in (("mask", True), ("replace", False)):
        run = after(state(Repair.model_validate({"mode": mode, "visits": 2})), 0, 1)
        sent = batch([0] * 2, None, 2, outcomes=np.array([1.0, 0.0]))
        assert overruled_in(run, sent) == [repaired] * 2
        found = repairs(run, sent, write=True)
        assert found is not None
        assert found.outcomes.tolist() == ([0.0, 0.0] if repaired else [1.0, 0.0])


def test_a_run_that_does_not_repair_has_the_records_that_it_had_before() -> None:
    assert repairs(State(config()), batch([0], ["a"], 0), write=True) is None
    effects = Effects(*_no_writes(), {}, {}, np.empty(0), {}, {}, {"success": [0, 0], "failure": [0, 0]})
    _, payload = seal(Record(0, 1, Batch.empty(1), effects, 0, bytes(32)))
    assert b"repair" not in payload
    assert b"masked" not in payload


def test_a_record_keeps_what_was_sent_and_what_counts() -> None:
    run = after(state(Repair(visits=2)), 0, 1)
    sent = batch([0] * 2, ["b", "a"], 2, prompts=np.ones((1, 1), np.float32), prompt_of=np.zeros(2, "<i4"))
    sent = replace(sent, completions=np.ones((2, 1), np.float32), group=np.zeros(2, "<i4"), lengths=np.zeros(2, "<i4"))
    repair = repairs(run, sent, write=True)
    assert repair is not None
    sizes = {"success": [0, 0], "failure": [0, 0]}
    columns = {"success": np.zeros(2, np.int64), "failure": np.zeros(2, np.int64)}
    effects = Effects(*_no_writes(), {}, {}, np.zeros(2), columns, {}, sizes, repair=repair)
    _, payload = seal(Record(0, 1, sent, effects, 0, bytes(32)))
    read = unseal(payload)
    record_check.check(read, set())
    assert (read.batch.outcomes.tolist(), read.scored.outcomes.tolist()) == ([1.0, 0.0], [0.0, 0.0])
    assert read.scored.masked is not None
    assert read.scored.masked.tolist() == [True, True]
    assert read.effects.repair is not None
    assert read.effects.repair.why == repair.why
    for wrong in ({"outcomes": np.zeros(3)}, {"why": [None, None]}, {"answers": ["a"]}, {"masks": 1}):
        broken = replace(read, effects=replace(read.effects, repair=replace(read.effects.repair, **wrong)))
        with pytest.raises(ValueError, match="is not what it should be"):
            record_check.check(broken, set())
    with pytest.raises(ValueError, match="masked"):
        record_check.check(replace(read, batch=read.scored), set())


def _no_writes() -> tuple[Any, Any]:
    nothing = State(config()).views(np.empty((0, 1), np.float32), None)[0].write_all(np.empty(0, np.int64), [], [])
    return nothing, nothing


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"repair": {"mode": "replace"}, "success_threshold": 5.0}, "1 and 0"),
        ({"repair": {"mode": "replace"}, "failure_threshold": -1.0}, "1 and 0"),
        ({"repair": {"prior_run_agrees": True}}, "prior_runs"),
        ({"repair": {"visits": 16}}, "visits"),
        ({"repair": {"mode": "guess"}}, "mode"),
    ],
)
def test_gates_that_cannot_work_are_refused(fields: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        RunConfig(**fields)
