"""The benchmark of junk: its classes and its statistics."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from benchmarks import published, report
from benchmarks.hackbench import measures, published_tables, short_answers
from benchmarks.hackbench.cases import Case, cases, half
from benchmarks.hackbench.first_steps import Beginning, Stretch
from benchmarks.hackbench.junk import CLASSES, SIDES, SLY, UNHELD
from benchmarks.hackbench.results import MEMORIES, Cell, Result
from examples.grpo.tasks.final_number import final_number


@pytest.fixture(scope="module")
def some() -> list[Case]:
    return cases(half(1), 40)


def test_the_halves_share_no_question() -> None:
    questions = [{one["question"] for one in half(number)} for number in (0, 1)]
    assert not questions[0] & questions[1]
    assert sum(map(len, questions)) > 1300


def test_a_case_has_three_fresh_attempts_and_an_earlier_one_and_is_not_decided(some: list[Case]) -> None:
    for case in some:
        attempts = [case.earlier, *case.fresh]
        assert len(attempts) == 4
        assert 0 < sum(one["is_correct"] for one in attempts) < 4
        assert all(case.outcome(one["solution"]) == 1 for one in attempts if one["is_correct"])


def test_the_verifier_sides_with_junk_that_has_the_answer_and_mostly_not_with_the_rest(some: list[Case]) -> None:
    for name in CLASSES:
        right = np.mean([case.outcome(case.junk[name]) for case in some])
        assert right == 1 if name == "right + junk" else right <= 0.1
    for name in SLY:
        assert all(case.outcome(case.junk[name]) for case in some) or name == "shuffled solution"
    assert set(UNHELD) < set(SLY)


def test_near_copies_are_near_and_differ_in_what_they_should(some: list[Case]) -> None:
    for case in some:
        known = [one["solution"] for one in (case.earlier, *case.fresh)]
        words = set(case.junk["near a success"].split())
        assert max(len(words & set(one.split())) / len(words) for one in known) > 0.6
        assert str(final_number(case.junk["near a success"])) != case.answer


def test_junk_is_the_same_every_time(some: list[Case]) -> None:
    assert cases(half(1), 40) == some


def test_what_ties_with_the_median_does_not_outrank_it() -> None:
    rewards = np.array([[0, 0, 1, 0], [0, 0, 1, 1], [0, 1, 1, 0.5], [0.2, 0.4, 0.3, 0.3 + 1e-12]])
    assert measures.above_median(rewards) == 0.25
    outcomes = np.array([[0, 0, 1, 0], [0, 0, 1, 1], [0, 1, 1, 0], [0, 0, 0, 1]])
    assert measures.above_alike(rewards, outcomes) == pytest.approx(1 / 3)


def test_an_auc_counts_ties_half_and_leaves_out_what_has_no_value() -> None:
    outcomes = np.array([[1, 0, 0, 1], [1, 1, 1, 1]])
    values = np.array([[0.5, 0.5, 0.1, math.nan], [1, 2, 3, 4]])
    assert measures.auc(values, outcomes) == 0.75
    assert math.isnan(measures.auc(values[1:], outcomes[1:]))
    assert measures.auc_by_rights(values, outcomes)["2"] == 0.75


def test_every_class_is_on_one_side() -> None:
    sides = [name for names in SIDES.values() for name in names]
    assert sorted(sides) == sorted([*CLASSES, *SLY])


def test_groups_differ_by_more_than_rounding() -> None:
    assert measures.told_apart(np.array([[0.1, 0.1, 0.1 + 1e-12], [0, 0, 1e-6]])) == 0.5
    assert math.isnan(measures.told_apart(np.empty((0, 4))))


def test_right_answers_come_first_where_outcome_and_reward_put_all_of_them_above_all_wrong_ones() -> None:
    outcomes = np.array([[1, 0, 0], [1, 1, 0], [1, 1, 1], [0, 0, 0], [1, 0, 0]])
    rewards = np.array([[0, 0.5, 0.2], [0.1, 0, 1.0], [0, 1, 2], [0, 1, 2], [0, 0.9, 1.1]])
    assert measures.right_first(rewards, outcomes) == pytest.approx(1 / 3)
    assert math.isnan(measures.right_first(rewards[2:4], outcomes[2:4]))


def test_spreads_are_a_share_of_the_outcomes_spread_or_absolute_where_those_are_equal() -> None:
    outcomes = np.array([[0, 0.5], [0, 1], [1, 1]])
    assert measures.spread_shares(np.array([[0, 0.25], [0.1, 0.2], [0, 0.3]]), outcomes) == pytest.approx((0.5, 0.3))


def test_short_answers_are_asked_in_every_wording_right_and_wrong() -> None:
    items, about = short_answers.group("What is 3 + 4?", 3, 4)
    assert [item.completion for item, (_, side) in zip(items, about, strict=True) if side == "right"] == [
        "7", "The answer is 7.", "#### 7", "3 + 4 = 7", "Three and four is 7",
    ]  # fmt: skip
    assert all(item.outcome == (side == "right") for item, (_, side) in zip(items, about, strict=True))
    assert not {"7"} & {word for item, (_, side) in zip(items, about, strict=True) if side == "wrong"
                        for word in item.completion.split()[-1:]}  # fmt: skip


def test_what_is_left_of_a_spread_is_the_lesser_of_both_sides() -> None:
    assert measures.kept((1.0, 0.5), (0.9, 0.2)) == pytest.approx(0.4)
    assert measures.kept((0.0, 0.5), (0.0, 0.5)) == 1
    assert measures.flattened_by({1: 0.9, 5: 0.4, 2: 0.6}) == 5
    assert measures.flattened_by({1: 0.9}) is None


def test_a_report_says_what_holds_by_its_values_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "FOLDER", tmp_path / "reports")
    monkeypatch.setenv("QUICK", "1")
    found = report.Report("name")
    found.rows = [
        report.Row("most", 0.02, "share", 0.02, at_most=True),
        report.Row("least", 0.79, "share", 0.8, goal=0.9),
        report.Row("nothing", math.nan, "", 0.5),
        report.Row("free", 3),
    ]
    written = json.loads(found.write().read_text())
    assert [row["holds"] for row in written["rows"]] == [True, False, False, None]
    assert written["rows"][1] == {
        "name": "least", "value": 0.79, "unit": "share", "floor": 0.8, "goal": 0.9, "holds": False,
    }  # fmt: skip
    assert written["rows"][2]["value"] is None
    assert written["quick"] is True
    assert {"commit", "machine", "seconds"} < written.keys()


def test_the_published_tables_say_what_was_found() -> None:
    def result(above: float) -> Result:
        cells = {(memory, junk): Cell(above, float("nan"), 0.1, 0) for memory in MEMORIES for junk in (*CLASSES, *SLY)}
        cells[MEMORIES[1], "refusal"] = Cell(above + 0.25, 0, 0, 0)
        part = dict(zip(("all", "1", "2", "3"), (0.5, 0.4, 0.5, 0.6), strict=True))
        return Result(cells, aucs={"explore": part, "exploit": part}, kept={"empty": {5: 0.9}}, rejected=0.004)

    results = {name: result(place / 10) for place, name in enumerate(("attempts", "guarded", "memory-r+"))}
    stretch = Stretch(0, 9, 1.0, float("nan"), 0.1234)
    found = dict(
        published_tables.tables(
            results,
            [("none", dict.fromkeys(SIDES, 0.5))],
            {"a run": Beginning([stretch], 1.0, [])},
            {"attempts": {("7", "right"): 0.0, ("?", "none"): 1.0}},
            groups=300,
        )
    )
    first, *_ = found["junk"]["rows"]
    assert (first["attempts"], first["guarded"], first["memory_r_plus"]) == (25, 35, 45)
    assert [row["junk"] for row in found["junk-by-class"]["rows"]] == [name for side in SIDES.values() for name in side]
    assert found["junk-by-class"]["rows"][0] | {"side": ""} == {
        "side": "",
        "junk": "refusal",
        "filled": 0,
        "empty": 25,
        "paper": 20,
    }
    assert found["junk-not-defended"]["rows"][0]["alike"] is None, "no number is no figure"
    assert found["junk-first-steps"]["rows"] == [
        {"run": "a run", "a0": 100, "first": 0.123, "last": 0.123, "rfirst": None, "rlast": None}
    ]
    assert found["short-answers"]["rows"][-1]["attempts"] == 100
    assert all((published.FOLDER / f"{name}.json").exists() for name in found)
