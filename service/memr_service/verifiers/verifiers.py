"""Verifiers: is a completion right? Pure functions of a completion and the answer it is held against, 1.0 or 0.0."""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from importlib.util import find_spec

from memr_client.errors import InvalidRequest

Verifier = Callable[[str, str], float]
"""(completion, answer) -> outcome."""

_NUMBER = re.compile(
    r"""(?:(?<![\w)\]}])(?P<minus>[-\u2212])\$?)?                  # 10-5 ends with 5, not with -5
        (?P<digits>(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?|\.\d+)
        (?P<power>[eE][-+]?\d{1,3}(?!\w))?""",
    re.VERBOSE,
)
_TYPESETTING = re.compile(r"\{,\}|\\[,!]")
_MARKS = ("####", "\\boxed")
"""What announces the final number: GSM8K's, and the one of competition mathematics."""


def exact(completion: str, answer: str) -> float:
    """Whether both are the same text, but for white space around them."""
    return float(completion.strip() == answer.strip())


def numeric(completion: str, answer: str) -> float:
    r"""Whether both end with the same number: the one after the last `####` or `\boxed`, else the last of all.

    Thousands separators do not count, and 18 is 18.00.

    Raises:
        InvalidRequest: there is no number in the answer.
    """
    if (right := final_number(answer)) is None:
        raise unreadable("numeric")
    return float(final_number(completion) == right)


def math(completion: str, answer: str) -> float:
    """Whether both are the same mathematically, as the package math-verify sees it: 1/2 is 0.5, x+1 is 1+x.

    What takes it too long (5 s) is not right. It keeps time with a signal, so it works in a main thread alone; `Judge`
    gives it one.

    Raises:
        InvalidRequest: there is nothing in the answer.
    """
    from math_verify import parse, verify

    right = parse(_as_latex(answer))
    if not right:
        raise unreadable("math")
    return float(verify(right, parse(completion)))


VERIFIERS: dict[str, Verifier] = {"exact": exact, "numeric": numeric, "math": math}
"""By the name that a run's config gives them."""


def require(verifier: str | None) -> None:
    """Refuse a verifier that does not work here.

    Raises:
        InvalidRequest: the package it needs is not installed.
    """
    if verifier == "math" and find_spec("math_verify") is None:
        raise InvalidRequest(
            "The verifier 'math' needs the package math-verify, which this server does not have.",
            value=verifier,
            limit=["exact", "numeric"],
            remedy="Install it with pip install 'memr[math]' and start the server again, or choose another verifier.",
        )


def final_number(text: str) -> Decimal | None:
    """The number a text ends with; None where it has none."""
    text = _TYPESETTING.sub(lambda found: "," if found[0] == "{,}" else "", text)
    mark = max(text.rfind(mark) for mark in _MARKS)
    found = _NUMBER.search(text, mark) if mark >= 0 else None
    if found is None:
        for found in _NUMBER.finditer(text):  # noqa: B007  (only the last one is wanted)
            pass
    if found is None:
        return None
    sign = "-" if found["minus"] else ""
    return Decimal(sign + found["digits"].replace(",", "") + (found["power"] or ""))


def unreadable(verifier: str) -> InvalidRequest:
    """The refusal of an answer that nothing can be compared with; the answer itself is not told."""
    return InvalidRequest(
        f"The verifier {verifier!r} cannot read the right answer, so that no completion can be judged by it.",
        limit={"numeric": "a text that holds a number", "math": "a formula or a number"}[verifier],
        remedy="Correct the label in the data set, or choose another verifier.",
    )


def _as_latex(answer: str) -> str:
    """A bare answer between dollars; a worked one from its final mark on."""
    answer = answer.rpartition("####")[2].strip()
    return answer if "$" in answer or "\\boxed" in answer else f"${answer}$"
