"""The verifier `numeric` on what is not one plain number: it judges the whole expression, or says that it cannot."""

from __future__ import annotations

import random
import time
from fractions import Fraction

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from memr_client.errors import InvalidRequest
from memr_service.verifiers.numeric import numeric
from support.final_number import final_number

RIGHT, WRONG, REFUSED = 1.0, 0.0, None
"""REFUSED: the verifier cannot read the label."""

PAIRS = [
    # label, what is said, verdict
    # fractions and mixed numbers
    ("3/4", r"\boxed{3/4}", RIGHT),
    ("3/4", "The answer is 5/4.", WRONG),
    ("4", "The answer is 5/4.", WRONG),
    ("5", "The answer is 5/4.", WRONG),
    ("0.5", r"\boxed{\frac{1}{2}}", RIGHT),
    ("2", r"\boxed{\frac{1}{2}}", WRONG),
    ("1/2", r"so it is $\dfrac12$.", RIGHT),
    ("-1/2", r"\boxed{-\tfrac{1}{2}}", RIGHT),
    ("-1/2", r"\boxed{\frac{-1}{2}}", RIGHT),
    ("0.75", "6/8 of a mile", RIGHT),
    ("2.5", "She needs 2 1/2 cups.", RIGHT),
    ("0.5", "She needs 2 1/2 cups.", WRONG),
    ("2", "She needs 2 1/2 cups.", WRONG),
    ("1.5", r"$1\frac{1}{2}$", RIGHT),
    ("1½", "It takes 1.5 hours", RIGHT),
    ("3.5", "about 3 and a half miles", RIGHT),
    ("3", "about 3 and a half miles", WRONG),
    ("3.5", "3 and 1/2", RIGHT),
    ("2020", "on 3/4/2020", WRONG),
    # numbers in words before digits
    ("2.5", "It is two and 1/2", RIGHT),
    ("0.5", "It is two and 1/2", WRONG),
    ("22.5", "twenty-two and 1/2 miles", RIGHT),
    ("-2.5", "minus two and 1/2", RIGHT),
    ("0.25", "three and 1/4", WRONG),
    ("205.5", "two hundred and five and 1/2", RIGHT),
    ("5", "twenty 5", WRONG),
    ("5", "two hundred and 5", WRONG),
    ("5", "one hundred 5", WRONG),
    ("200", "one thousand 200", WRONG),
    ("5", "two hundred and 5", WRONG),
    ("3", "Of the two, 3 are left", RIGHT),
    ("5", "the two 5 dollar bills", RIGHT),
    ("two hundred and 5", "5", REFUSED),
    # words that multiply
    ("24", "2 dozen", RIGHT),
    ("2", "2 dozen", WRONG),
    ("2 dozen", "24 eggs", RIGHT),
    ("5", "5 score", WRONG),
    ("500000", "5 lakh", RIGHT),
    ("5", "5 lakhs", WRONG),
    ("50000000", "5 crore", RIGHT),
    ("5", "5 thousands", WRONG),
    ("5000", "5千", RIGHT),
    ("5", "5百", WRONG),
    ("50000", "5万元", RIGHT),
    ("5000000", "5百万", RIGHT),
    ("5", "5千克", RIGHT),
    ("5", "5千米", RIGHT),
    ("0.05", "It is 5 hundredths", RIGHT),
    ("5", "It is 5 hundredths", WRONG),
    ("2/3", "2 thirds", RIGHT),
    ("5", "5‰", WRONG),
    # what is joined to a number
    ("3", "2<sup>3</sup>", WRONG),
    ("8", "2<sup>3</sup>", RIGHT),
    ("2", "CO<sub>2</sub>", WRONG),
    ("5", "5ft3", WRONG),
    ("5", "5 ft 3", WRONG),
    ("5", "5 ft3 of water", RIGHT),
    ("2", "version v1.2", WRONG),
    ("0", "5/0", WRONG),
    # powers, roots, scientific notation
    ("10", r"\boxed{10^6}", WRONG),
    ("6", r"\boxed{10^6}", WRONG),
    ("1000000", r"\boxed{10^6}", RIGHT),
    ("1024", "It is 2**10", RIGHT),
    ("1000000", "10⁶ grains", RIGHT),
    ("6", "10⁶ grains", WRONG),
    ("4", r"\boxed{\sqrt{16}}", RIGHT),
    ("16", r"\boxed{\sqrt{16}}", WRONG),
    ("2", r"\boxed{\sqrt{2}}", WRONG),
    ("3", "2√3", WRONG),
    ("1500", r"$1.5 \times 10^3$", RIGHT),
    ("3", r"$1.5 \times 10^3$", WRONG),
    ("0.0015", "1.5e-3", RIGHT),
    ("300000", "3x10^5 m", RIGHT),
    # units and percent
    ("5", "The area is 5 cm^2", RIGHT),
    ("2", "The area is 5 cm^2", WRONG),
    ("5", "The area is 5 m²", RIGHT),
    ("60", "60 km/h", RIGHT),
    ("9.8", "9.8 m/s^2", RIGHT),
    ("90", r"\boxed{90^\circ}", RIGHT),
    ("50", "50%", RIGHT),
    ("50%", r"\boxed{50\%}", RIGHT),
    ("0.5", "50%", WRONG),
    ("50", "50 percent", RIGHT),
    ("50", "20% of 50", WRONG),
    ("5000000", "5 million dollars", RIGHT),
    ("5", "5 million dollars", WRONG),
    ("5000", "5k", RIGHT),
    ("30", "2 hours and 30 minutes", WRONG),
    ("3", "5 feet 3 inches", WRONG),
    ("18", "After 5 minutes, 18 meters", RIGHT),
    ("48", "A tree stores 48 kg of CO2.", RIGHT),
    ("18", "an 18-year-old", RIGHT),
    # times and ratios
    ("3:30", "It ends at 3:30 PM.", RIGHT),
    ("3:30", "It ends at 3:45.", WRONG),
    ("30", "It ends at 3:30.", WRONG),
    ("3:30", "30", WRONG),
    ("5 pm", "5 am", WRONG),
    ("5 pm", "at 5:00 p.m.", RIGHT),
    ("15:30", "3:30 pm", RIGHT),
    ("3:4", "The ratio is 3 : 4", RIGHT),
    ("4", "The ratio is 3:4", WRONG),
    # signs
    ("18", "#### - 18", WRONG),
    ("-18", "#### - 18", RIGHT),
    ("-18", "it is −18", RIGHT),
    ("18", "it is −18", WRONG),
    ("-18", r"$- 18$", RIGHT),
    ("-18", "The answer is – 18, so -18", RIGHT),
    ("-5", "a loss of -$5", RIGHT),
    ("-5", "$-5", RIGHT),
    ("-5", r"-\boxed{5}", RIGHT),
    ("5", r"-\boxed{5}", WRONG),
    ("-18", "The answer is negative 18", RIGHT),
    ("18", "The answer is minus 18", WRONG),
    ("5", "±5", WRONG),
    ("18", "Total - 18", WRONG),
    # separators of thousands
    ("1000000", "1 000 000", RIGHT),
    ("1000000", "1\u202f000\u202f000 people", RIGHT),
    ("12345", r"\boxed{12\,345}", RIGHT),
    ("32348", r"\boxed{\$32,\!348}", RIGHT),
    ("1234567", "12,34,567 rupees", RIGHT),
    ("1000", "1'000", RIGHT),
    ("1000", "1_000", RIGHT),
    ("1234.56", "1.234,56 €", RIGHT),
    ("345", "12,345", WRONG),
    ("2345", "first 3, then 1,2345", WRONG),
    ("5", "12,5", WRONG),
    ("3", "1.2.3", WRONG),
    # currencies, LaTeX, emphasis
    ("18", "€18", RIGHT),
    ("18", "It costs US$18.00.", RIGHT),
    ("500", "Rs.500", RIGHT),
    ("18", r"\(18\)", RIGHT),
    ("18", r"\boxed{\text{18 dollars}}", RIGHT),
    ("18", r"\boxed{18 \text{ dollars}}", RIGHT),
    ("18", r"\boxed{\mathbf{18}}", RIGHT),
    ("18", "**18**", RIGHT),
    ("18", "<answer>18</answer>", RIGHT),
    ("18", "１８", RIGHT),
    ("5000000", r"\boxed{5} million", RIGHT),
    # parts of expressions
    ("2", "2x", WRONG),
    ("2", r"\boxed{2\pi}", WRONG),
    ("2", "x^2", WRONG),
    ("3", "4 + 3", WRONG),
    ("7", "16 * 7", WRONG),
    ("5", "10-5", WRONG),
    ("10", "A: 10+John's age", WRONG),
    ("13", "16 - 3 = 13", RIGHT),
    ("5", "x = 5", RIGHT),
    ("5", "x > 5", WRONG),
    ("5", r"x \ge 5", WRONG),
    ("4", "(3, 4)", WRONG),
    ("5", "3, 4 and 5", WRONG),
    ("4", "x = 3 or x = 4", WRONG),
    ("5", "between 3 and 5", WRONG),
    ("5", "3–5 apples", WRONG),
    ("10", "5 out of 10", WRONG),
    ("5", r"\boxed{5!}", WRONG),
    ("5", "The answer is 5!", RIGHT),
    ("9", "twice 9", WRONG),
    ("8", r"\log_2 8", WRONG),
    ("0.333", "0.333...", WRONG),
    ("18", "18...", RIGHT),
    ("5", "#### 5 apples plus 3 pears", WRONG),
    ("3", r"5 + \boxed{3}", WRONG),
    ("8", r"5 + 3 = \boxed{8}", RIGHT),
    # labels that are no single number
    ("2x", "2", REFUSED),
    ("3-5", "5", REFUSED),
    ("3, 4", "4", REFUSED),
    (r"\sqrt{2}", "2", REFUSED),
    ("x > 5", "5", REFUSED),
]


@pytest.mark.parametrize(("label", "said", "verdict"), PAIRS)
def test_the_whole_expression_is_judged_or_none_of_it(label, said, verdict):
    if verdict is REFUSED:
        with pytest.raises(InvalidRequest, match="reads no number"):
            numeric(said, label)
    else:
        assert numeric(said, label) == verdict


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("#### 18 dollars for 3 days", 18),
        ("####\n7", 7),
        ("#### Check\nit is 7", 7),
        (r"\boxed{}, so 7", 7),
        (r"7, so \boxed{x}", None),
        (r"it is \boxed{42", 42),
        (r"\boxed{x = 42}", 42),
        (r"\boxed{3 \text{ apples and } 4 \text{ pears}}", None),
        (r"\boxed{8} = 5 + 3", 8),
        (r"\boxed{3}, \boxed{4}", None),
        (r"\boxed{\boxed{18}}", 18),
        (r"\begin{align}x &= 18\end{align}", 18),
        ("| total | 18 |", 18),
        ("18<|im_end|> and", 18),
        ("|-6|", None),
        ("(3)!", None),
        (r"\frac{\boxed{3}}{4}", Fraction(3, 4)),
        ("3 + 2 = 5, 5 * 4 = 20", 20),
        ("33 + x = 2x + x", None),
        ("32768 feet * 2 =", None),
        ("Totals:\n- 18", None),
        ("1) 18", 18),
        ("(B) 18", 18),
        ("Step 3: 18", 18),
        ("答案是18。", 18),
    ],
)
def test_where_a_text_says_its_number(text, number):
    assert final_number(text) == number


# A number in a longer expression

numbers = st.integers(1, 999)
variables = st.sampled_from(["x", "y", "n", r"\pi", "π", r"\theta", "i"])
WITH_A_NUMBER = [
    "{n}{x}", "{x}{n}", "{n} {x}", "{x}^{n}", "{n}^{x}", "{x}^{{{n}}}", "{x}_{n}", "{n}/{x}", "{x}/{n}", "{n}*{x}",
    "{n} + {x}", "{x} + {n}", "{x}-{n}", "{n} - {x}", r"\frac{{{n}}}{{{x}}}", r"\frac{{{x}}}{{{n}}}",
    r"\sqrt{{{n}{x}}}", r"{n}\sqrt{{{x}}}", "{x} > {n}", "{n} < {x}", r"{x} \le {n}", "|{x} - {n}|", "f({n})",
    "({x}, {n})", "[{n}, {x})", r"\log_{{{n}}} {x}", "{n}({x} + 1)",
]  # fmt: skip
WITH_TWO_NUMBERS = [
    "{n} + {m}", "{n}-{m}", "{n} * {m}", "{n} x {m}", r"{n} \cdot {m}", "{n}, {m}", "({n}, {m})", "[{n}; {m}]",
    "{n} and {m}", "{n} or {m}", "{n} to {m}", "{n} out of {m}", "{n}% of {m}", "{n}–{m}", "±{n} {m}", "{n}:{m}",
    "{n} hours {m} minutes", "{n} feet, {m} inches", "{n} dollars and {m} cents", "{n}({m})", "({n})({m})",
    "{n} mod {m}", "{n} plus {m}", "{n} times {m}", "{n} divided by {m}", r"\binom{{{n}}}{{{m}}}", r"{n}\sqrt{{{m}x}}",
]  # fmt: skip
SETTINGS = ["{}", "The answer is {}.", "so ${}$", r"\boxed{{{}}}", "#### {}", "= {}", "A: {}", "**{}**", "12 + 1 = {}"]


@given(numbers, numbers, variables, st.sampled_from([*WITH_A_NUMBER, *WITH_TWO_NUMBERS]), st.sampled_from(SETTINGS))
@example(5, 3, "x", "{n}, {m}", "A: {}")
def test_no_part_of_a_longer_expression_is_the_answer(n, m, x, expression, setting):
    expression = expression.format(n=n, m=m, x=x)
    text = setting.format(expression)
    for part in (n, m):
        assert numeric(text, str(part)) == 0.0, text
        assert numeric(text, f"-{part}") == 0.0, text


@st.composite
def expressions(draw, depth=2):
    """An expression and its value, by the rules of arithmetic alone."""
    kind = draw(st.sampled_from(["number", "fraction", "power", "bracket", "root", "sign"] if depth else ["number"]))
    if kind == "number":
        n = draw(numbers)
        return str(n), Fraction(n)
    inner, value = draw(expressions(depth - 1))
    if kind == "fraction":
        below, divisor = draw(expressions(depth - 1))
        assume(divisor != 0)
        return rf"\frac{{{inner}}}{{{below}}}", value / divisor
    if kind == "power":
        exponent = draw(st.integers(0, 4))
        return f"({inner})^{{{exponent}}}", value**exponent
    if kind == "root":
        return rf"\sqrt{{({inner})^2}}", abs(value)
    return (f"({inner})", value) if kind == "bracket" else (f"(-{inner})", -value)


@given(expressions(), st.sampled_from(SETTINGS))
def test_an_expression_that_is_read_has_its_value(expression, setting):
    written, value = expression
    assert final_number(setting.format(written)) == value


PIECES = [
    "1", "12", "3.5", "1,000", "0", "-", " ", "/", "^", "{", "}", "(", ")", "[", r"\frac", r"\boxed", "####", r"\sqrt",
    "x", "π", "km", "^2", "²", "½", "%", "$", "=", "<", ":", "!", ".", ",", ";", "…", "**", "_", "\n", "and", "million",
    "am", r"\text{ cm}", "minus", "twice", r"\times", "'", '"', "|", "\x00", "\ud83d", "e3", "<b>", "—", "–", "−", "+",
    "of", "apples", "答案", "\\", "2nd", "１", "\u0305", "🎉", "\ue000",
]  # fmt: skip


@given(st.lists(st.sampled_from(PIECES), max_size=14).map("".join))
def test_every_text_has_a_number_or_none(text):
    number = final_number(text)
    assert number is None or any(map(str.isdecimal, text)) or any(piece in text for piece in ("²", "½"))


def test_what_cannot_be_computed_is_not_computed():
    started = time.thread_time()
    for text in ("9^{9^{9}}", "9^9999999", "1e999^9", "√" * 900 + "4", "(" * 450 + "4" + ")" * 450, "1/" * 5000 + "1"):
        assert final_number(text) is None
    assert time.thread_time() - started < 2


def test_a_longer_text_costs_no_more():
    """Only what stands near the final number is read."""
    words = random.Random(0).choices(["so", "3", "+", "4", "=", "7", "apples,"], k=200_000)
    started = time.thread_time()
    assert final_number(" ".join([*words, "it is 18."])) == 18
    assert time.thread_time() - started < 1
