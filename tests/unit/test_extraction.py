"""Answers are found in texts, and equal ones are told from others."""

from __future__ import annotations

import pytest
from memr_service.verifiers.equality import form
from memr_service.verifiers.extraction import extracted, last_match, pattern_of, reference
from memr_service.verifiers.numeric import numeric


@pytest.mark.parametrize(
    ("how", "text", "answer"),
    [
        ("numeric", "He pays $1,234.50.", "2469/2"),
        ("numeric", "#### 72", "72"),
        ("numeric", "at 3:30 pm", "3:30 pm"),
        ("numeric", "no number", None),
        ("boxed", r"\boxed{1} and then \boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        ("boxed", "boxed 3", None),
        ("boxed", r"\boxed{}", None),
        ("<answer>", "<answer>1</answer><answer>\n 2 </answer>", "2"),
        ("<answer>", "<answer>1</answer> and <answer>2", "1"),
        ("<answer>", "answer 3", None),
        ("<answer>", "</answer>", None),
        ("pattern:Answer: (.*?)\\.", "Answer: 1. Answer: two\nlines.", "two\nlines"),
        ("pattern:(x)", "y", None),
    ],
)
def test_the_last_answer_of_a_text_counts(how: str, text: str, answer: str | None) -> None:
    assert [*extracted(how, [text])] == [answer]


def test_searches_that_take_too_long_are_given_up_after_some(monkeypatch: pytest.MonkeyPatch) -> None:
    slow = "a" * 60 + "bc"
    monkeypatch.setattr(last_match, "__defaults__", (0.01,))
    assert [*extracted("pattern:((?:a|aa)+)c", [slow, "ac", *[slow] * 4, "ac"])] == [None, "a", *[None] * 5]


def test_a_reference_is_read_as_completions_are_and_else_taken_whole() -> None:
    assert reference("numeric", "48 / 2 = 24\n#### 72") == "72"
    assert reference(None, "48 / 2 = 24\n#### 72") == "72"
    assert reference("boxed", "x + 1") == "x + 1"
    assert reference("<answer>", "Paris") == "Paris"
    assert reference(None, "####") == "####"
    assert pattern_of("pattern:a(b)") == "a(b)"
    assert pattern_of("boxed") is None


@pytest.mark.parametrize(
    "same",
    [
        ["1/2", "0.5", r"\frac{1}{2}", r"$\frac12$", ".5", "50e-2"],
        ["12", "$12", "12 apples", "12.0", "x = 12", " 12."],
        ["1,000", "1000", "10^3"],
        ["A", "(a)", "a.", r"\text{A}", "**A**"],
        ["New York", "new  york", "NEW YORK."],
        ["x+1", "x + 1", "$x + 1$"],
    ],
)
def test_answers_that_say_the_same_have_one_form(same: list[str]) -> None:
    assert len({form(one) for one in same}) == 1


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("12", "-12"),
        ("1/2", "1/3"),
        ("A", "B"),
        ("in Paris it was 12 degrees", "in London it was 12 degrees"),
        ("x + 1", "x + 2"),
        ("", "0"),
    ],
)
def test_answers_that_say_something_else_have_another_form(one: str, other: str) -> None:
    assert form(one) != form(other)


@pytest.mark.parametrize("answer", ["7", "-7", "007", "0", "123456789012345", "1234567890123456789"])
def test_integers_have_the_value_that_the_verifier_reads(answer: str) -> None:
    assert form(answer) == f"= {int(answer)}"
    assert numeric(answer, str(int(answer))) == 1
