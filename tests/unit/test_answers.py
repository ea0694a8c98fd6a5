"""Answers equal their plain twin, stay within their bounds, and come back whole."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from memr_service.state import answers as module
from memr_service.state.answers import (
    MOST_ANSWERS,
    MOST_CHARS,
    MOST_VISITS,
    Answers,
    EarlierRun,
    Given,
    Prompt,
    canonical,
    check_earlier,
    packed_earlier,
)
from memr_service.state.law import ANSWERS, PASS_RATES
from memr_service.state.packed import packed
from memr_service.state.pass_rates import KEY_BYTES, TEXT_BYTES
from memr_service.state.record import Batch
from memr_service.state.state import State
from support.answers import PlainAnswers
from support.batches import config

SAID = st.one_of(st.none(), st.sampled_from("abcd"))
ITEM = st.tuples(st.integers(0, 3), SAID, st.one_of(st.none(), st.sampled_from("ab")), st.booleans())
HISTORY = st.lists(
    st.tuples(st.lists(ITEM, min_size=1, max_size=10), st.one_of(st.none(), st.integers(0, 4))), max_size=12
)


def key(number: int) -> bytes:
    return bytes([number + 1]) * KEY_BYTES


def text(number: int) -> bytes:
    return bytes([number + 1]) * TEXT_BYTES


def batch(
    numbers: Sequence[int],
    answers: Sequence[str | None],
    references: Sequence[str | None] | None = None,
    right: Sequence[bool] | None = None,
    step: int | None = None,
    texts: Sequence[bytes] | None = None,
) -> Batch:
    n, given_texts = len(numbers), texts or [text(number) for number in numbers]
    return replace(
        Batch.empty(1),
        keys=[key(number) for number in numbers],
        outcomes=np.array([False] * n if right is None else right, float),
        answers=[*answers],
        references=None if references is None else [*references],
        prompt_ids=[f"q{number}" for number in numbers],
        texts=np.frombuffer(b"".join(given_texts), np.uint8).reshape(n, TEXT_BYTES),
        step=step,
    )


def of(answers: Answers, number: int) -> Prompt:
    return Prompt.unpack(answers.packed()[key(number)])


def again(answers: Answers) -> Answers:
    copy = Answers(0.5, None)
    copy.restore(answers.freeze())
    return copy


@given(history=HISTORY, group_size=st.one_of(st.none(), st.integers(1, 5)), unpacked=st.integers(0, 3))
def test_answers_are_those_of_the_plain_twin(history: Any, group_size: int | None, unpacked: int) -> None:
    answers, plain, serial = Answers(0.5, group_size), PlainAnswers(group_size), 0
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(module, "UNPACKED", unpacked)
        for now, (items, step) in enumerate(history):
            numbers, said, references, right = (list(column) for column in zip(*items, strict=True))
            answers.count(batch(numbers, said, references, right, step), now, serial)
            plain.record([key(number) for number in numbers], said, references, right, step, now)
            serial += len(items)
    assert {*answers.packed()} == {*plain.prompts}
    for name, one in plain.prompts.items():
        found = Prompt.unpack(answers.packed()[name])
        assert (found.reference, found.changes, found.visits) == (one.reference, one.changes, len(one.visits))
        newest = one.visits[-MOST_VISITS:]
        assert [(visit.step, visit.size) for visit in found.all_visits()] == [
            (step, len(all_)) for step, all_ in newest
        ]
        for visit, (_, all_) in zip(found.all_visits(), newest, strict=True):
            assert visit.counts == Counter(answer for answer in all_ if answer is not None)
        everything = Counter(answer for _, all_ in one.visits for answer in all_ if answer is not None)
        assert {tally.answer: tally.times for tally in found.tallies} == everything
        for tally in found.tallies:
            assert tally.visits == sum(tally.answer in all_ for _, all_ in one.visits)
            assert (tally.right, tally.wrong) == tuple(one.judged.count((tally.answer, good)) for good in (True, False))


@given(history=HISTORY, at=st.integers(0, 12))
def test_answers_come_back_whole_from_any_record(history: Any, at: int) -> None:
    answers = Answers(0.5, None)
    for now, (items, step) in enumerate(history):
        if now == at:
            other = again(answers)
        numbers, said, references, right = (list(column) for column in zip(*items, strict=True))
        answers.count(batch(numbers, said, references, right, step), now, 10 * now)
        if now >= at:
            other.count(batch(numbers, said, references, right, step), now, 10 * now)
    if len(history) > at:
        assert other.digest() == answers.digest() == again(answers).digest()
        assert [*other.packed()] == [*answers.packed()]


def test_a_new_reference_counts_and_the_verdicts_on_the_old_one_do_not() -> None:
    answers = Answers(0.5, None)
    answers.count(batch([0, 0], ["4", "5"], ["4", "4"], [True, False], step=0), 0, 0)
    answers.count(batch([0, 0], ["4", "5"], ["5", "5"], [False, True], step=1), 1, 2)
    found = of(answers, 0)
    assert (found.reference, found.changes) == ("5", 1)
    assert [(one.answer, one.times, one.right, one.wrong) for one in found.tallies] == [("4", 2, 0, 1), ("5", 2, 1, 0)]
    answers.count(batch([0], ["5"], None, [True], step=2), 2, 4)
    assert (of(answers, 0).reference, of(answers, 0).name) == ("5", "q0")


def test_the_rarest_answers_leave_before_a_visit_and_the_counts_of_the_others_stay() -> None:
    answers = Answers(0.5, None)
    for step in range(6):
        said = ["often", "often", *(f"{step}-{one}" for one in range(20))]
        answers.count(batch([0] * len(said), said, step=step), step, 100 * step)
        assert len(of(answers, 0).tallies) <= MOST_ANSWERS
    found = of(answers, 0)
    assert found.tallies[0].answer == "often"
    assert (found.tallies[0].times, found.tallies[0].visits) == (12, 6)
    assert [tally.number for tally in found.tallies] == [*range(len(found.tallies))]
    assert [visit.counts["often"] for visit in found.all_visits()] == [2] * 6
    assert [visit.size for visit in found.all_visits()] == [22] * 6


def test_the_prompt_visited_longest_ago_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_PROMPTS", 3)
    answers = Answers(0.5, None)
    for step, number in enumerate([0, 1, 2, 0, 3]):
        answers.count(batch([number], ["a"], step=step), step, step)
    assert [*answers.packed()] == [key(2), key(0), key(3)]


def test_a_prompt_is_forgotten_whole() -> None:
    answers = Answers(0.5, None)
    answers.count(batch([0, 1], ["a", "b"]), 0, 0)
    answers.forget(np.frombuffer(key(0) + key(5), np.uint8).reshape(2, -1))
    assert [*answers.packed()] == [key(1)]


def test_an_answer_is_counted_without_its_white_space_and_a_long_one_by_its_digest() -> None:
    assert canonical("  3\n cm ") == "3 cm"
    assert canonical(None) is None
    one, other = canonical("x" * 500), canonical("x" * 499 + "y")
    assert one is not None
    assert one != other
    assert len(one) == MOST_CHARS
    assert canonical(one) == one


def start(answers: Answers, *prompts: tuple[int, bytes]) -> None:
    rows = [(key(number), digest, f"old{number}", "4", [Given(0, "5", 7, 2)]) for number, digest in prompts]
    answers.start_from(**packed_earlier([EarlierRun("first", 3.0, 10.0)], rows))


def test_what_earlier_runs_knew_is_found_by_id_and_by_text() -> None:
    answers = Answers(0.5, None)
    start(answers, (0, text(0)), (1, text(7)), (2, bytes(TEXT_BYTES)))
    answers = again(answers)
    answers.count(batch([0, 9, 2], ["a"] * 3, texts=[text(0), text(7), text(2)]), 0, 0)
    assert [*map(Given._make, of(answers, 9).earlier)] == [Given(0, "5", 7, 2)]
    assert [len(of(answers, number).earlier) for number in (0, 9, 2)] == [1, 1, 1]
    assert len(answers) == 3
    assert answers.runs == [EarlierRun("first", 3.0, 10.0)]
    assert of(answers, 0).reference == "4"


def test_another_prompt_of_that_id_inherits_nothing() -> None:
    answers = Answers(0.5, None)
    start(answers, (0, text(0)))
    answers.count(batch([0], ["a"], texts=[text(5)]), 0, 0)
    assert of(answers, 0).earlier == []
    assert of(answers, 0).reference is None


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        [[["run", -1, 0]], []],
        [[], [[key(0), text(0), None, None, [[0, "5", 1, 1]]]]],
        [[["run", 1, 1]], [[b"short", text(0), None, None, []]]],
        [[["run", 1, 1]], [[key(0), text(0), 5, None, []]]],
        [[["run", 1, 1]], [[key(0), text(0), None, None, [[0, "5", -1, 1]]]]],
        [[["run", 1, 1]], [[key(0), text(0), None, None, [[0, "5"]]]]],
    ],
)
def test_forged_answers_of_earlier_runs_are_refused(value: Any) -> None:
    with pytest.raises(ValueError, match=r"answers of earlier runs|unpack"):
        check_earlier(packed(value))


def test_answers_that_cannot_be_read_are_told() -> None:
    answers = Answers(0.5, None)
    start(answers, (7, text(7)))
    for step in range(3):
        answers.count(batch([0, 0, 1], ["a", "b", "a"], ["a"] * 3, step=step), step, 3 * step)
    answers.check()
    whole = answers.packed()[key(0)]
    for forged in (
        b"",
        b"\xc1",
        packed([1, 2]).tobytes(),
        whole[:-1],
        whole.replace(b"\xa1b", b"\xa1a"),
        whole + b"\xc0",
    ):
        arrays = answers.freeze()
        arrays["packed"] = packed([[], [], [[key(0), forged]]])
        copy = Answers(0.5, None)
        copy.restore(arrays)
        with pytest.raises(ValueError, match="not the answers to a prompt"):
            copy.check()


def test_a_state_without_answers_has_the_digest_of_the_law_before() -> None:
    older, newer = (State(config(), law=law) for law in (PASS_RATES, ANSWERS))
    assert older.answers is None
    assert newer.digest() == older.digest()
    assert newer.answers is not None
    newer.answers.count(batch([0], ["a"]), 0, 0)
    assert newer.digest() != older.digest()
