"""The probability that a reference is wrong."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from memr_service.insight.suspects import PRIOR, LabelEvidence, Source, label_probability, support
from memr_service.insight.suspects.probability import ANSWER_WEIGHT, REFERENCE_WEIGHT, REST_WEIGHT, UNKNOWN

ANSWERS = ("12", "13", "14", "15")

sources = st.lists(
    st.builds(
        lambda counts, completions, share: Source(counts, int(share * completions), completions),
        st.dictionaries(st.sampled_from(ANSWERS), st.integers(1, 50), max_size=len(ANSWERS)),
        st.integers(0, 5000),
        st.floats(0, 1),
    ),
    max_size=6,
)


def source(answer: str, right: int = 50, completions: int = 98, count: int = 1) -> Source:
    return Source({answer: count}, right, completions)


def probability(*given: Source, reference: str = "12") -> float:
    return label_probability(LabelEvidence(reference, given))


def test_without_any_answer_it_is_the_prior():
    assert probability() == pytest.approx(PRIOR)
    assert probability(Source({}, 50, 100)) == pytest.approx(PRIOR)
    assert label_probability(LabelEvidence("12", []), prior=0.02) == pytest.approx(0.02)


def test_a_source_of_which_nothing_is_known_elsewhere_has_no_vote():
    assert Source({"13": 9}, 0, 0).vote == 0
    assert probability(Source({"13": 9}, 0, 0), source("12")) == probability(source("12"))


def test_the_formula_by_hand():
    half, third = Source({"13": 6, "14": 2}, 50, 98), Source({"12": 1, "13": 1}, 100, 298)
    assert (half.accuracy, third.accuracy) == (0.5, 1 / 3)
    assert half.vote == pytest.approx(math.log(4))
    assert third.vote == pytest.approx(math.log(2.5))
    found = support(LabelEvidence("12", [half, third]))
    assert found.answer == "13"
    assert found.for_answer == pytest.approx(0.75 * math.log(4) + 0.5 * math.log(2.5))
    assert found.for_reference == pytest.approx(0.5 * math.log(2.5))
    assert found.for_rest == pytest.approx(0.25 * math.log(4))
    odds = ANSWER_WEIGHT * found.for_answer - REFERENCE_WEIGHT * found.for_reference - REST_WEIGHT * found.for_rest
    assert probability(half, third) == pytest.approx(1 / (1 + 9 * math.exp(-odds)))


def test_the_stronger_answer_leads_and_of_equal_ones_the_first_in_order():
    assert support(LabelEvidence("12", [source("14"), source("13", right=60)])).answer == "13"
    assert support(LabelEvidence("12", [source("14"), source("13")])).answer == "13"
    assert support(LabelEvidence("12", [source("12")])).answer is None


def test_more_completions_of_one_source_are_no_further_evidence():
    assert probability(source("13", count=64)) == probability(source("13"))
    assert probability(source("13"), source("13")) > probability(source("13", count=64))


def test_one_source_that_is_right_half_the_time_accuses_nobody_and_four_do():
    assert PRIOR < probability(source("13", count=64)) < 0.5
    assert probability(*[source("13")] * 4) > 0.5
    assert probability(*[source("13")] * 4, source("12"), source("12"), source("12"), source("12")) < PRIOR


@given(sources)
def test_it_is_a_probability(given):
    assert 0 <= probability(*given) <= 1
    assert math.isfinite(probability(*given * 50))


@given(sources, st.integers(1, 999))
def test_a_source_that_gives_the_reference_lowers_it(given, right):
    assert probability(*given, source("12", right, 1000)) <= probability(*given) + 1e-12


@given(sources, st.integers(1, 999))
def test_a_source_that_gives_the_strongest_other_answer_raises_it(given, right):
    answer = support(LabelEvidence("12", given)).answer or "13"
    assert probability(*given, source(answer, right, 1000)) >= probability(*given) - 1e-12


@given(sources, st.integers(1, 999))
def test_a_further_answer_that_does_not_lead_lowers_it(given, right):
    evidence = LabelEvidence("12", [*given, source("16", right, 1000)])
    if support(evidence).answer != "16":
        assert label_probability(evidence) <= probability(*given) + 1e-12


@given(st.integers(0, 1000), st.integers(0, 1000))
def test_a_source_that_is_more_often_right_weighs_more(one, other):
    less, more = sorted((one, other))
    assert probability(source("13", less, 1000)) <= probability(source("13", more, 1000))
    assert probability(source("12", less, 1000)) >= probability(source("12", more, 1000))


@given(sources, st.floats(0.001, 0.5), st.floats(0.001, 0.5))
def test_it_rises_with_the_prior(given, one, other):
    less, more = sorted((one, other))
    evidence = LabelEvidence("12", given)
    assert label_probability(evidence, less) <= label_probability(evidence, more)


def test_the_accuracy_is_shrunk_towards_nothing():
    assert Source({}, 1, 1).accuracy == 1 / (1 + UNKNOWN)
    assert Source({}, 5000, 5000).accuracy < 1
