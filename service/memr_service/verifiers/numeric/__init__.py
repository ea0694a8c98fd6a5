r"""The verifier `numeric`: the same final number.

    passage     where a text says its final number
    notation    LaTeX and Unicode in one plain notation
    tokens      the plain text as tokens, and the runs of them that may be one expression
    words       words that change what a number says
    reading     the value of an expression

A number that is a part of a longer expression is never the text's number: 5/4 is not 4, 10^6 is neither 10 nor 6, and
an expression that has no value here (2x, 3 + 4, a list, an interval) is no number at all.
"""

from __future__ import annotations

from memr_service.verifiers.numeric.passage import final_value
from memr_service.verifiers.unreadable import unreadable


def numeric(completion: str, answer: str) -> float:
    r"""1.0 if both end with the same number, else 0.0.

    A text ends with what follows its last `####` or stands in its last `\boxed`, else with the last number of its last
    line that has one. Fractions, mixed numbers, powers, roots that are fractions, and scientific notation have their
    values; separators of thousands, currencies and units do not count (50% is 50); times and ratios are compared part
    by part. A completion whose final number cannot be told is not right.

    Raises:
        InvalidRequest: the answer is no single number.
    """
    if (right := final_value(answer)) is None:
        raise unreadable("numeric", answer)
    said = final_value(completion)
    return float(said is not None and said.is_same(right))
