"""The number that a text ends with, as the verifier `numeric` reads it."""

from __future__ import annotations

from decimal import Context, Decimal
from fractions import Fraction

from memr_service.verifiers.numeric.passage import final_value

ROOM = Context(prec=20_000)
"""Digits enough for every number that is read."""


def final_number(text: str) -> Decimal | Fraction | None:
    """The number a text ends with, as a decimal if it is one.

    None if the text ends with none, with a time or a ratio, or with an expression that is no single number.
    """
    value = final_value(text)
    if value is None or len(value.parts) > 1:
        return None
    (number,) = value.parts
    places = number.denominator.bit_length() - 1  # at least the twos and the fives in the denominator
    scaled = number * 10**places
    if scaled.denominator > 1:
        return number
    exact = Decimal(scaled.numerator).scaleb(-places, ROOM)
    return exact.normalize(ROOM) if places else exact
