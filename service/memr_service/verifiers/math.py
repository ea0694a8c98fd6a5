"""The verifier `math`: the same mathematics."""

from __future__ import annotations

import importlib.util
import re
import signal
from functools import cache
from types import FrameType

from memr_service.verifiers.unreadable import unreadable

LIMIT_S = 5.0
"""Seconds of processor time after which a completion is not right."""

_CURRENCY = re.compile(
    r"\\text\{\s*\\?\$\s*\}|\\textdollar(?![A-Za-z])|(?:\b[A-Z]{1,2})?\\\$|[€£¥₹]"
    r"|\\text\{\s*(?:dollars?|USD)\s*\}|(?<=\d)\s*(?:dollars?|USD)\b"
)
_PERCENT = re.compile(
    r"(?<=[\d})])(?:\s|\\[,;:!> ])*(?:\\?%|\\text\{\s*(?:\\?%|percent)\s*\}|\bpercent\b)", re.IGNORECASE
)
_SCIENTIFIC = re.compile(r"(?<![\w.])(\d+(?:\.\d+)?)[eE]([-+]?\d{1,3})(?![\w.]*\w)")
_POWER_OF_TEN = re.compile(
    r"(?<![\w.,^])([-+]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?)\s*(?:\\times|\\cdot|[×·*x])\s*10\s*\^\s*\{?([-+]?\d{1,3})\}?(?=\D*\Z)"
)
"""A number times a power of ten, after which the text has no other number."""
_FULL_WIDTH = str.maketrans("０１２３４５６７８９．，－", "0123456789.,-")
_AMOUNT = re.compile(r"(?:\b[A-Z]{1,2})?\$")
_FORMULA = re.compile(r"(\$\$?)(?=\S)[^$]*?(?<=\S)\1(?!\d)")
"""Dollars around a formula; those of an amount ($5, $5 and $6) are none."""
_MARKS = ("\\boxed", "\\(", "\\[")
"""What else begins a formula."""


class TooSlow(BaseException):
    """A verification took too long. No `Exception`, because math-verify treats those as another reading that failed."""


def installed() -> bool:
    """Whether the package math-verify is there."""
    return importlib.util.find_spec("math_verify") is not None


def math(completion: str, answer: str) -> float:
    """1.0 if both mean the same to the package math-verify (1/2 is 0.5, x+1 is 1+x), else 0.0.

    A completion that takes more than `LIMIT_S` is not right. The time is measured with a signal, so `math` works in a
    process's main thread only (`memr_service.app.judging.math_process` is a process for it).

    Raises:
        InvalidRequest: the answer cannot be read.
    """
    try:
        return timed(completion, answer, LIMIT_S)
    except TooSlow:
        return 0.0


def timed(completion: str, answer: str, seconds: float) -> float:
    """Like `math`, with another limit.

    Args:
        completion: the completion.
        answer: the right answer.
        seconds: the limit, in seconds of processor time: a busy machine changes no outcome.

    Raises:
        InvalidRequest: the answer cannot be read.
        TooSlow: it took longer.
    """
    from math_verify import parse, verify

    _be_quiet_about_time()
    previous = signal.signal(signal.SIGVTALRM, _stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    try:
        right = parse(as_formula(answer), parsing_timeout=None)
        if not right:
            raise unreadable("math", answer)
        return float(verify(right, parse(with_its_power(completion), parsing_timeout=None), timeout_seconds=None))
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, previous)


def as_formula(answer: str) -> str:
    """An answer as a formula between dollars; of a worked answer, what follows its final mark.

    Dollars that are a currency are no part of it: \\$18.90 and $18.90 are 18.90.
    """
    answer = plain_numbers(answer.rpartition("####")[2].strip())
    if "\\boxed" in answer or _FORMULA.search(answer):
        return answer
    return f"${_AMOUNT.sub('', answer).strip()}$"


def plain_numbers(text: str) -> str:
    """The text without currencies and percent signs (50% is 50, as for `numeric`), 1.2e3 as a power of ten, １２ as 12.

    A dollar that may begin a formula stays.
    """
    text = _PERCENT.sub("", _CURRENCY.sub("", text.translate(_FULL_WIDTH)))
    return _SCIENTIFIC.sub(r"\1 \\times 10^{\2}", text)


def with_its_power(completion: str) -> str:
    """A completion with plain numbers. A last number times a power of ten (1.2e3) becomes a formula if it has none.

    Of a power outside a formula math-verify reads 10^3 alone.
    """
    text = plain_numbers(completion)
    if _FORMULA.search(text) or any(mark in text for mark in _MARKS):
        return text
    return _POWER_OF_TEN.sub(lambda found: f"${found[1].replace(',', '')} \\times 10^{{{found[2]}}}$", text)


def _stop(number: int, frame: FrameType | None) -> None:
    raise TooSlow


@cache
def _be_quiet_about_time() -> None:
    """math-verify warns once that its own limit of time is off. It would start another timer for each step."""
    from math_verify import grader, parser

    grader.TIMEOUT_WARNING_SHOWN = parser.TIMEOUT_WARNING_SHOWN = True
