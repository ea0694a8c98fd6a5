"""What the verifier `numeric` reads in a text, as one number."""

from __future__ import annotations

from fractions import Fraction

from memr_service.verifiers.numeric.passage import final_value


def final_number(text: str) -> Fraction | None:
    """The number a text ends with; None if it ends with none, or with a time or a ratio."""
    value = final_value(text)
    return value.parts[0] if value is not None and len(value.parts) == 1 else None
