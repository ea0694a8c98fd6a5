"""The benchmark of wrong references: what it changes, what it counts, and that its weights are those of the service."""

from __future__ import annotations

import math

import numpy as np
import pytest
from memr_service.insight.suspects import PRIOR
from support.real_data import references, solutions

from benchmarks.suspects import forms, measures, tables
from benchmarks.suspects.__main__ import TITLES, markdown, measured
from benchmarks.suspects.fit import PUBLISHED, Fit, columns, probabilities, weights
from benchmarks.suspects.gsm8k import Question, canonical, questions
from benchmarks.suspects.noise import KINDS, clean, evidence, noisy


def test_refitting_gives_the_weights_of_the_service() -> None:
    assert Fit(questions()).weights == pytest.approx(PUBLISHED, abs=0.006)


def test_answers_equal_the_reference_where_the_data_set_says_that_they_are_right() -> None:
    assert len(references()) == len(questions()) == 1319
    for one, known in zip(questions(), solutions(), strict=True):
        assert [said == one.reference for said in one.answers] == [it["is_correct"] for it in known["solutions"]]


def test_answers_that_are_equal_have_one_string() -> None:
    said = [r"\boxed{1,000}", "1000.0 eggs", "half of it", "1/3", "2/6", "0.5"]
    assert canonical("$1000", said) == ("1000", ["1000", "1000", None, "1/3", "1/3", "0.5"])


@pytest.mark.parametrize("kind", KINDS)
def test_so_many_references_are_changed_in_the_way_that_is_said(kind: str) -> None:
    labels = noisy(questions(), 0.1, [kind], np.random.default_rng(0))
    assert labels.changed.sum() == 132
    for one, reference, changed in zip(questions(), labels.references, labels.changed, strict=True):
        assert (reference != one.reference) == changed
        if changed and kind == "given":
            assert reference in one.answers
        elif changed:
            assert 1 <= int(reference) - int(one.reference) <= 9


def test_a_model_is_judged_by_the_other_questions() -> None:
    asked = [Question("a", "1", ["1"] * 4), Question("b", "2", ["2", "3", "3", None]), Question("c", "3", ["0"] * 4)]
    found = list(evidence(asked, clean(asked)))
    assert [(one.right, one.completions) for one in found[0].sources] == [(1, 2), (0, 2), (0, 2), (0, 2)]
    assert [(one.right, one.completions) for one in found[1].sources] == [(1, 2)] * 4
    assert [one.counts for one in found[1].sources] == [{"2": 1}, {"3": 1}, {"3": 1}, {}]


def test_the_fit_finds_the_weights_that_made_the_data() -> None:
    rng, true = np.random.default_rng(0), np.array([1.5, 1.0, 0.5])
    x = rng.exponential(1.0, (100_000, 3)) * (1, -1, -1)
    assert weights(x, rng.random(len(x)) < probabilities(x, true)) == pytest.approx(true, abs=0.1)


def test_a_question_is_scored_by_weights_that_were_fitted_without_it() -> None:
    some = questions()[:200]
    fit = Fit(some, draws=1)
    x = columns(some, clean(some))
    for fold, w in enumerate(fit.without):
        assert fit.held_out(x)[fit.fold == fold] == pytest.approx(probabilities(x[fit.fold == fold], w))
    assert len({tuple(w) for w in fit.without}) == len(fit.without)


def test_measures_count_ties_together() -> None:
    p, changed = np.array([0.9, 0.5, 0.5, 0.5, 0.1]), np.array([True, True, False, False, False])
    assert measures.auc(p, changed) == pytest.approx((3 + 0.5 + 0.5 + 1) / 6)
    assert measures.among_strongest(p, changed, 2) == pytest.approx(1 + 1 / 3)
    assert measures.among_strongest(p, changed, 5) == 2
    assert measures.precision_at(p, changed, 0.2) == 1
    assert measures.precision_at(p, changed, 0.6) == 0.5
    assert measures.at(p, changed, 0.5) == (0.5, 1.0)
    assert math.isnan(measures.at(p, changed, 0.95)[0])


def test_a_number_in_words() -> None:
    assert [forms.spelled(number) for number in (0, 15, 40, 1000, 2125, -10)] == [
        "zero", "fifteen", "forty", "one thousand", "two thousand one hundred twenty-five", "minus ten",
    ]  # fmt: skip


def test_forms_are_named_by_how_they_write_a_thousand() -> None:
    names = {"1.0e3": "1.000e3", r"\boxed{1{,}000}": r"\boxed{1{,}000}"}
    for name, form in forms.FORMS.items():
        assert form(1000) == names.get(name, name)


def test_every_suspect_that_is_published_was_solved_again() -> None:
    rows = tables.strongest(questions())["rows"]
    assert len(rows) >= 20
    assert {row["verdict"] for row in rows} <= {"label wrong", "models wrong", "ambiguous"}
    assert all(row["reason"] for row in rows)


def test_a_small_run_finds_what_is_promised() -> None:
    found = dict(measured(count=2, fitted=1, every=40))
    assert list(found) == list(TITLES)
    assert all(markdown(table).count("\n") == 1 + len(table["rows"]) for table in found.values())
    as_is, *rows = found["suspects"]["rows"]
    assert as_is["accused"] <= 0.03
    random = next(row for row in rows if (row["way"], row["share"]) == ("by +1 to +9", PRIOR))
    assert random["auc"] >= 0.83
    assert random["top"] >= 25
    assert random["precision"] >= 0.45
    given = next(row for row in rows if (row["way"], row["share"]) == ("to an answer that a model gave", PRIOR))
    assert 0.5 < given["auc"] < random["auc"]
    assert [row["given"] for row in found["suspects-agreement"]["rows"]] == [0, 0, 0, 0]
