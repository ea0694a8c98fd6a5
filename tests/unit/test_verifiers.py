"""Verifiers, on texts made for it and on real solutions whose verdicts are known."""

import importlib.util
import time
from fractions import Fraction

import math_verify  # noqa: F401 - here, so that no test is charged for the seconds that its import takes
import pytest
from hypothesis import given
from hypothesis import strategies as st
from memr_client.errors import InvalidRequest
from memr_service.verifiers import VERIFIERS, require
from memr_service.verifiers.exact import exact
from memr_service.verifiers.math import math
from memr_service.verifiers.numeric import numeric
from support.cases import slow_after
from support.final_number import final_number
from support.real_data import solutions


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("18", "18"),
        ("It is 18.", "18"),
        ("She pays $1,234.50 in all.", "1234.50"),
        ("1,234,567 and no more", "1234567"),
        ("work: 3 + 4\n#### 7", "7"),
        ("#### 7\n\nCheck: 3 + 4 = 7, in 2 steps", "7"),
        ("#### $1,000", "1000"),
        (r"so \boxed{42}, as 6 * 7", "42"),
        (r"\boxed{1{,}234}", "1234"),
        (r"\boxed{12\,345}", "12345"),
        ("####", None),
        ("7 apples\n#### none", "7"),
        ("it is -5", "-5"),
        ("it is −5", "-5"),
        ("a loss of -$1,000.5", "-1000.5"),
        ("(-3)", "-3"),
        (".5 of it", ".5"),
        ("about 3.0e2", "300"),
        ("A: 26", "26"),
        ("<<16-3=13>>13 eggs", "13"),
        ("no number at all", None),
        ("", None),
    ],
)
def test_a_text_ends_with_the_number_after_its_mark_or_else_its_last_one(text, number):
    assert final_number(text) == (None if number is None else Fraction(number))


@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**9), max_value=10**9, places=3))
def test_a_number_is_read_back_however_it_is_written(number):
    for written in (f"{number}", f"{number:,}", f"the answer is {number:,}.", f"#### {number}\n12 words"):
        assert final_number(written) == Fraction(number)


def test_numbers_are_equal_as_decimals_not_as_texts_or_floats():
    assert numeric("It is 18.00", "18") == 1.0
    assert numeric("1,000", "#### 1000") == 1.0
    assert numeric("0.1", "0.10000000000000001") == 0.0
    assert numeric("nothing", "0") == 0.0


def test_exact_means_the_same_text_but_for_white_space_around_it():
    assert exact("  Paris\n", "Paris") == 1.0
    assert exact("paris", "Paris") == 0.0


@pytest.mark.parametrize(
    ("completion", "answer", "outcome"),
    [
        (r"so it is $\frac{1}{2}$", "0.5", 1.0),
        (r"\boxed{x+1}", "1+x", 1.0),
        (r"\boxed{\{1, 2\}}", r"$\{2, 1\}$", 1.0),
        (r"\boxed{\frac{3}{4}}", r"\frac{6}{8}", 1.0),
        ("the answer is 1,234", "1234", 1.0),
        ("#### 18", "She has 9 * 2\n#### 18", 1.0),
        (r"It costs \boxed{\$18.90}.", r"\$18.90", 1.0),
        (r"It costs \boxed{\$32,\!348}.", r"\$32,\!348", 1.0),
        (r"\boxed{18.9}", r"\$18.90", 1.0),
        (r"\boxed{\$19}", r"\$18.90", 0.0),
        ("It costs $18.90.", "$18.90", 1.0),
        (r"\boxed{5}", "US$5", 1.0),
        (r"\boxed{-\$5}", "-$5", 1.0),
        (r"\boxed{5}", r"-\$5", 0.0),
        (r"\boxed{\text{\$}5}", r"\text{\$}5", 1.0),
        (r"\boxed{5\$}", r"5\$", 1.0),
        (r"\boxed{5\text{ dollars}}", "5 dollars", 1.0),
        (r"\boxed{5}", "€5", 1.0),
        (r"\boxed{\$10 \text{ million}}", r"\$10 \text{ million}", 1.0),
        (r"$\boxed{\$5}$", r"$\$5$", 1.0),
        (r"\boxed{5}", "$$5$$", 1.0),
        ("they cost $5 and $6, so $11.", "$11", 1.0),
        ("I do not know", r"\frac{1}{2}", 0.0),
        ("it is １２．５", "12.5", 1.0),
        ("so 1.2e1", "12", 1.0),
        ("so 1.2e1", "10", 0.0),
        ("3e8 m/s", "300000000", 1.0),
        ("it is 1.6 \\times 10^{1}", "16", 1.0),
        ("it is 1.6 \\times 10^{1}", "10", 0.0),
        ("= 1,200 x 10^1.", "12000", 1.0),
        ("a tolerance of 1e-5, so it is 12", "12", 1.0),
        ("\\boxed{6.02e23}", "$6.02 \\times 10^{23}$", 1.0),
    ],
)
def test_mathematics_is_compared_by_its_meaning(completion, answer, outcome):
    assert math(completion, answer) == outcome


@pytest.mark.parametrize(("judge", "answer"), [(numeric, "no number"), (math, "nothing $$")])
def test_an_answer_that_cannot_be_read_is_refused_and_named(judge, answer):
    with pytest.raises(InvalidRequest, match="no completion can be judged by it") as refused:
        judge("42", answer)
    assert refused.value.value == answer


QUESTIONS = [(numeric, 200), (math, 40), (numeric, 1319), (math, 100)]


@pytest.mark.parametrize(("judge", "questions"), slow_after(2, QUESTIONS))
def test_real_solutions_get_the_verdicts_that_are_known(judge, questions):
    """Against one right solution of the same question: the other right ones are right, the wrong ones wrong."""
    judged = 0
    for question in solutions()[:questions]:
        right = [one["solution"] for one in question["solutions"] if one["is_correct"]]
        for one in question["solutions"] if right else []:
            if one["solution"] != right[0]:
                judged += 1
                answer = right[0].rpartition("A: ")[2]
                assert judge(one["solution"], answer) == one["is_correct"], (one["solution"], answer)
    assert judged > questions


def test_long_texts_take_time_in_proportion():
    started = time.thread_time()
    for text in ("1," * 200_000, "-" * 200_000, "1" * 200_000, "####" * 50_000, "1e1" * 70_000):
        final_number(text)
    assert time.thread_time() - started < 5


def test_a_verifier_without_its_package_is_refused_with_the_line_that_installs_it(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InvalidRequest, match=r"pip install '\.\[math\]' in a clone of memr"):
        require("math")
    for other in (None, "exact", "numeric"):
        require(other)


def test_all_verifiers_of_the_wire_are_here():
    require("math")
    assert importlib.util.find_spec("math_verify")
    assert set(VERIFIERS) == {"exact", "numeric", "math"}
