"""The verifier `numeric`: the same final number."""

from __future__ import annotations

import re
from decimal import Decimal

from memr_service.verifiers.unreadable import unreadable

_NUMBER = re.compile(
    r"""(?:(?<![\w)\]}])(?P<minus>[-\u2212])\$?)?                  # 10-5 ends with 5, not with -5
        (?P<digits>(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?|\.\d+)
        (?P<power>[eE][-+]?\d{1,3}(?!\w))?""",
    re.VERBOSE,
)
_TYPESETTING = re.compile(r"\{,\}|\\[,!]")
_MARKS = ("####", "\\boxed")
"""What announces the final number: GSM8K's mark, and that of competition mathematics."""


def numeric(completion: str, answer: str) -> float:
    r"""1.0 if both end with the same number, else 0.0.

    A text ends with the number after its last `####` or `\boxed`, else with its last number. Thousands separators do
    not count, and 18 is 18.00.

    Raises:
        InvalidRequest: there is no number in the answer.
    """
    if (right := final_number(answer)) is None:
        raise unreadable("numeric")
    return float(final_number(completion) == right)


def final_number(text: str) -> Decimal | None:
    """The number a text ends with; None if it has none."""
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
