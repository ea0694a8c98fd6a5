"""Equality of answers: one form for all answers that say the same, whichever verifier judged them."""

from __future__ import annotations

import re
from functools import lru_cache

from memr_service.verifiers.numeric.passage import final_value

MOST_WORDS = 2
"""A number with so many words beside it is a number with a unit, and not a text that holds a number."""
KNOWN = 1 << 16

_INTEGER = re.compile(r"-?\d{1,15}", re.ASCII)
_COMMAND = re.compile(r"\\[A-Za-z]+")
_WORD = re.compile(r"[^\W\d_]+")
_NAMED = re.compile(r"[\s$(\\]*[A-Za-z]\s*=")
_FRAME = " \t\n$.,;:!?\"'`()[]{}*"


@lru_cache(KNOWN)
def form(answer: str) -> str:
    r"""The form that an answer shares with all that say the same.

    Numbers have the value that the verifier `numeric` reads: 1/2, 0.5 and \frac{1}{2} are one answer, and so are 12,
    $12 and 12 apples. Other texts are compared without case, spaces, LaTeX's commands and what frames them: (A) is a.
    """
    if _INTEGER.fullmatch(answer):  # as `final_value` reads it, only faster
        return f"= {int(answer)}"
    plain = _COMMAND.sub(" ", answer)
    words = _WORD.findall(_NAMED.sub("", plain, count=1))
    starts = next((one for one in plain if one.isalnum()), "")
    if len(words) <= MOST_WORDS and (starts.isdigit() or _NAMED.match(plain)):
        value = final_value(answer)
        if value is not None:
            try:
                return f"= {value}"
            except ValueError:  # it has more digits than Python writes
                pass
    return "".join(plain.casefold().strip(_FRAME).replace("{", "").replace("}", "").split()) or answer
