"""Pass rates equal their plain twin, are known as of each of the last records, and start from earlier runs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from memr_service.state import pass_rates
from memr_service.state.pass_rates import KEPT, KEY_BYTES, TEXT_BYTES, PassRates
from support.pass_rates import PlainPassRates

NO_TEXT = bytes(TEXT_BYTES)

histories = st.lists(
    st.tuples(
        st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=1, max_size=12),
        st.one_of(st.none(), st.integers(0, 4)),
    ),
    max_size=25,
)


def key(number: int) -> bytes:
    return bytes([number + 1]) * KEY_BYTES


def text(number: int) -> bytes:
    return bytes([number + 1]) * TEXT_BYTES


def count(
    rates: PassRates, position: int, numbers: list[int], right: list[bool], step: int | None, texts: Any = None
) -> None:
    texts = [NO_TEXT] * len(numbers) if texts is None else texts
    packed = np.frombuffer(b"".join(texts), np.uint8).reshape(-1, TEXT_BYTES)
    rates.count([key(number) for number in numbers], np.array(right, float), packed, step, position)
    rates.end_record(position)


def prior(rates: PassRates, *prompts: tuple[int, bytes, float, float]) -> None:
    rates.start_from(
        np.frombuffer(b"".join(key(number) for number, *_ in prompts), np.uint8).reshape(-1, KEY_BYTES),
        np.frombuffer(b"".join(one[1] for one in prompts), np.uint8).reshape(-1, TEXT_BYTES),
        np.array([one[2] for one in prompts]),
        np.array([one[3] for one in prompts]),
    )


def shown(rates: PassRates) -> dict[bytes, Any]:
    return {row["key"].tobytes(): row.tobytes() for row in rates.used if row["key"].any()}


def known(rates: PassRates, number: int) -> tuple[float, float]:
    row = rates.row(key(number))
    assert row is not None
    return float(rates.table["right"][row]), float(rates.table["wrong"][row])


@given(history=histories, group_size=st.one_of(st.none(), st.integers(1, 5)))
def test_counts_are_those_of_the_plain_twin(history: Any, group_size: int | None) -> None:
    rates, plain = PassRates(0.5, group_size), PlainPassRates(group_size)
    for position, (items, step) in enumerate(history, 1):
        numbers, right = [number for number, _ in items], [good for _, good in items]
        count(rates, position, numbers, right, step)
        plain.record([key(number) for number in numbers], right, step, position)
    assert len(rates) == len(plain.prompts)
    for name, one in plain.prompts.items():
        row = rates.table[rates.row(name)]
        assert (row["right"], row["wrong"]) == (one.right, one.wrong)
        assert (row["first_right"], row["first_wrong"]) == (sum(one.first), len(one.first) - sum(one.first))
        assert (row["visits"], row["size"]) == (len(one.visits), one.size)
        assert [step for step in row["recent"].tolist() if step >= 0] == one.visits[::-1][: pass_rates.RECENT]
        share = one.right / (one.right + one.wrong)
        assert rates.shares([name]).tolist() == [share]


@given(history=histories, at=st.integers(0, 25))
def test_what_was_known_before_is_still_known(history: Any, at: int) -> None:
    rates, seen = PassRates(0.5, 4), {}
    for position, (items, step) in enumerate(history, 1):
        seen[position - 1] = shown(rates)
        count(rates, position, [number for number, _ in items], [good for _, good in items], step)
    seen[len(history)] = shown(rates)
    at = min(at, len(history))
    assert rates.reaches(at)
    then = shown(rates)
    for name, row in rates.before(at).items():
        then[name] = row.tobytes()
    unknown = {name for name in then if name not in seen[at]}
    assert {name: row for name, row in then.items() if name not in unknown} == seen[at]
    assert all(not rates.before(at)[name]["visits"] for name in unknown)


def test_only_the_last_records_are_kept() -> None:
    rates = PassRates(0.5, None)
    for position in range(1, KEPT + 11):
        count(rates, position, [0], [True], position)
    assert not rates.reaches(9)
    assert rates.reaches(10)


@given(history=histories, cut=st.integers(0, 25))
def test_a_restored_table_goes_on_as_the_frozen_one(history: Any, cut: int) -> None:
    whole, part = PassRates(0.5, 3), PassRates(0.5, 3)
    prior(whole, (0, text(0), 2, 1), (7, text(3), 0, 4))
    for position, (items, step) in enumerate(history, 1):
        given = ([number for number, _ in items], [good for _, good in items], step)
        texts = [text(number) for number in given[0]]
        if position == min(cut, len(history)):
            part.restore({name: array.copy() for name, array in whole.freeze().items()})
        count(whole, position, *given, texts)
        if position >= min(cut, len(history)) > 0:
            count(part, position, *given, texts)
    if min(cut, len(history)) > 0:
        assert part.digest() == whole.digest()
        assert {name: array.tobytes() for name, array in part.freeze().items()} == {
            name: array.tobytes() for name, array in whole.freeze().items()
        }


def test_a_visit_halves_what_earlier_runs_knew() -> None:
    rates = PassRates(0.5, None)
    prior(rates, (0, NO_TEXT, 3, 1))
    assert known(rates, 0) == (3, 1)
    count(rates, 1, [0, 0], [True, False], 0)
    assert known(rates, 0) == (2.5, 1.5)
    assert rates.table["first_right"][rates.row(key(0))] == 1


def test_a_prompt_with_another_id_is_found_by_its_text() -> None:
    rates = PassRates(0.5, None)
    prior(rates, (0, text(0), 4, 0))
    count(rates, 1, [1], [True], 0, [text(0)])
    assert rates.row(key(0)) is None
    assert known(rates, 1) == (3, 0)
    assert rates.before(0)[key(0)]["right"] == 4
    assert rates.before(0)[key(1)]["right"] == 0


def test_equal_ids_with_different_texts_do_not_match_and_are_counted() -> None:
    rates = PassRates(0.5, None)
    prior(rates, (0, text(0), 4, 0))
    count(rates, 1, [0], [True], 0, [text(5)])
    assert known(rates, 0) == (1, 0)
    assert rates.mismatched == 1
    assert rates.before(0)[key(0)]["right"] == 4


def test_the_prompt_that_was_visited_longest_ago_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pass_rates, "MOST_PROMPTS", 3)
    rates = PassRates(0.5, None)
    for position, number in enumerate([0, 1, 2, 0, 3], 1):
        count(rates, position, [number], [True], position)
    assert rates.row(key(1)) is None
    assert {number for number in range(4) if rates.row(key(number)) is not None} == {0, 2, 3}
    assert rates.before(4)[key(1)]["right"] == 1


def test_of_too_many_prompts_of_earlier_runs_the_last_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pass_rates, "MOST_PROMPTS", 2)
    rates = PassRates(0.5, None)
    prior(rates, *((number, text(number), number, 0) for number in range(4)))
    assert {*shown(rates)} == {key(2), key(3)}
    count(rates, 1, [9], [True], 0, [text(2)])
    assert {*shown(rates)} == {key(3), key(9)}
    assert known(rates, 9) == (2, 0)


def test_a_start_is_told_as_it_was_given() -> None:
    rates, other = PassRates(0.5, None), PassRates(0.5, None)
    rates.start_from(*(np.zeros((0, width), np.uint8) for width in (KEY_BYTES, TEXT_BYTES)), np.zeros(0), np.zeros(0))
    prior(rates, (3, text(3), 1, 2), (0, NO_TEXT, 0, 4))
    other.start_from(**rates.start())
    assert other.digest() == rates.digest()
    assert [rates.row(key(3)), rates.row(key(0))] == [0, 1]


@given(history=histories, cut=st.integers(0, 25))
def test_a_copy_stays_as_it_is(history: Any, cut: int) -> None:
    rates = PassRates(0.5, None)
    prior(rates, (0, text(0), 2, 1), (7, text(3), 0, 4))
    copied, then = rates.copied(), rates.freeze()
    for position, (items, step) in enumerate(history, 1):
        numbers, right = [number for number, _ in items], [good for _, good in items]
        count(rates, position, numbers, right, step, [text(number) for number in numbers])
        if position == cut:
            rates.forget(np.frombuffer(key(numbers[0]), np.uint8).reshape(1, -1))
            copied, then = rates.copied(), rates.freeze()
    assert {name: array.tolist() for name, array in copied.freeze().items()} == {
        name: array.tolist() for name, array in then.items()
    }


def test_a_record_may_have_no_completions() -> None:
    rates = PassRates(0.5, None)
    rates.end_record(1)
    assert rates.shares([key(0)]).tolist() == pytest.approx([np.nan], nan_ok=True)


@given(history=histories, gone=st.integers(0, 5), at=st.integers(0, 25))
def test_a_forgotten_prompt_goes_on_as_one_that_was_never_visited(history: Any, gone: int, at: int) -> None:
    whole, without = PassRates(0.5, 4), PassRates(0.5, 4)
    prior(whole, (0, text(0), 2, 1), (7, text(3), 0, 4))
    then: dict[bytes, Any] = {}
    at = min(at, len(history))
    for position, (items, step) in enumerate(history, 1):
        if position == at + 1:
            then = shown(whole)
            whole.forget(np.frombuffer(key(gone), np.uint8).reshape(1, -1))
        count(whole, position, [number for number, _ in items], [good for _, good in items], step)
        kept = [(number, good) for number, good in items if number != gone or position > at]
        if kept:
            count(without, position, [number for number, _ in kept], [good for _, good in kept], step)
    if at < len(history):
        mine, other = whole.row(key(gone)), without.row(key(gone))
        assert (mine is None) == (other is None)
        if mine is not None:
            assert whole.table[mine] == without.table[other]
        before = whole.before(at)
        assert {name: before[name].tobytes() for name in then.keys() & before.keys()} == {
            name: row for name, row in then.items() if name in before
        }
        again = PassRates(0.5, 4)
        again.restore({name: array.copy() for name, array in whole.freeze().items()})
        assert again.digest() == whole.digest()


def test_forgetting_what_is_not_known_changes_nothing() -> None:
    rates = PassRates(0.5, None)
    count(rates, 1, [0], [True], 0)
    digest = rates.digest()
    rates.forget(np.frombuffer(key(1), np.uint8).reshape(1, -1))
    rates.end_record(2)
    assert (rates.digest(), rates.before(1)) == (digest, {})


def test_the_newest_visits_are_told_with_the_rows_before_and_after() -> None:
    rates = PassRates(0.5, None)
    count(rates, 1, [0, 0, 1, 1], [True, False, True, True], 0)
    count(rates, 2, [0, 0], [True, True], 1)
    count(rates, 3, [0, 0], [False, False], 1)  # the rest of the same visit
    before, after = rates.visits(3, 10)
    assert [(row["visits"], row["right"], row["wrong"]) for row in before] == [(1, 1, 1), (0, 0, 0), (0, 0, 0)]
    assert [(row["visits"], row["right"], row["wrong"]) for row in after] == [(2, 2.5, 2.5), (1, 2, 0), (1, 1, 1)]
    assert [len(rates.visits(*asked)[0]) for asked in ((1, 10), (3, 1), (0, 10))] == [2, 1, 0]
    rates.forget(np.frombuffer(key(0), np.uint8).reshape(1, -1))
    rates.end_record(4)
    assert len(rates.visits(4, 10)[0]) == 3


def test_an_empty_row_that_is_left_behind_says_nothing() -> None:
    rates = PassRates(0.5, None)
    count(rates, 1, [0], [True], 3)
    rates.forget(np.frombuffer(key(0), np.uint8).reshape(1, -1))
    rates.end_record(2)
    assert rates.used["recent"].tolist() == [[pass_rates.NO_STEP] * pass_rates.RECENT]
