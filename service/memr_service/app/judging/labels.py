"""Labels: the right answer of a sample, in the forms in which data sets have it."""

from __future__ import annotations

from typing import Any

from memr_client.errors import InvalidRequest

LIMIT = "a text that is not empty, a number, a list of one of them, or {answer, split}"
SHOWN_KEYS = 8
"""Keys of an object that a message names."""


def answer_of(label: Any, name: str, remedy: str) -> str:
    """A label's answer as text for the verifier.

    A whole number is written without a fraction: pandas makes 12.0 of 12 where a column has gaps.

    Args:
        name: what the request calls the label.
        remedy: where a label without an answer is mended.

    Raises:
        InvalidRequest: it holds no answer, or several.
    """
    answer = label.get("answer") if isinstance(label, dict) else label
    while isinstance(answer, list) and answer and all(one == answer[0] for one in answer):
        answer = answer[0]
    if isinstance(answer, str) and answer.strip():
        return answer
    if isinstance(answer, int | float) and not isinstance(answer, bool):
        return str(int(answer)) if float(answer).is_integer() else str(answer)
    if isinstance(answer, list) and answer:
        raise InvalidRequest(
            f"{name} has {len(answer)} answers that differ, and a verifier compares with one.",
            value=f"a list of {len(answer)} values",
            limit=LIMIT,
            remedy="Choose one of them in the data set, or judge the completions yourself and send outcomes.",
        )
    raise InvalidRequest(
        f"{name} has no answer that the verifier could compare with.",
        value=_shown(label, answer),
        limit=LIMIT,
        remedy=remedy,
    )


def _shown(label: Any, answer: Any) -> str:
    if isinstance(label, dict) and "answer" not in label:
        return f"an object with the keys {[str(key)[:40] for key in list(label)[:SHOWN_KEYS]]}"
    return "" if answer == "" else f"a value of type {type(answer).__name__}"
