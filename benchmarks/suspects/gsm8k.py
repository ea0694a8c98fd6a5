"""GSM8K's test questions with their references and the answers of four models, as canonical strings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from functools import cache

from memr_service.verifiers.numeric.passage import final_value
from memr_service.verifiers.numeric.reading import Value
from support.real_data import references, solutions

MODELS = ("6B fine-tuned", "6B with a verifier", "175B fine-tuned", "175B with a verifier")


@dataclass(frozen=True)
class Question:
    """A question, its reference, and the answer of each model of `MODELS`; None where a solution has none."""

    text: str
    reference: str
    answers: Sequence[str | None]

    @property
    def wrong_answers(self) -> list[str]:
        """The models' answers that are not the reference."""
        return [answer for answer in self.answers if answer not in (None, self.reference)]


@cache
def questions() -> list[Question]:
    """All 1,319."""
    return [
        Question(one["question"], *canonical(reference, [solution["solution"] for solution in one["solutions"]]))
        for one, reference in zip(solutions(), references(), strict=True)
    ]


def canonical(reference: str, completions: Sequence[str]) -> tuple[str, list[str | None]]:
    """The reference and the completions' answers: what `numeric` holds equal has one string."""
    known = [final_value(reference)]
    answers: list[str | None] = []
    for value in map(final_value, completions):
        same = next((one for one in known if value is not None and one is not None and one.is_same(value)), None)
        if same is None and value is not None:
            known.append(value)
        answers.append(None if value is None else shown(same or value))
    assert known[0] is not None
    return shown(known[0]), answers


def shown(value: Value) -> str:
    """A value as text: 12, 0.5, 1/3, or 3:30pm."""
    return ":".join(map(_decimal, value.parts)) + value.half


def _decimal(number: Fraction) -> str:
    decimal = Decimal(number.numerator) / Decimal(number.denominator)
    return f"{decimal:f}" if Fraction(decimal) == number else str(number)
