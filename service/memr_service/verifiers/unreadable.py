"""The refusal of a right answer that a verifier cannot read."""

from __future__ import annotations

from memr_client.errors import InvalidRequest

READS = {"numeric": "number", "math": "formula or number"}
"""Verifier -> what it reads."""


def unreadable(verifier: str, answer: str, label: str = "the right answer") -> InvalidRequest:
    """The error to raise.

    Args:
        answer: the right answer.
        label: what messages call it.
    """
    return InvalidRequest(
        f"{label} is {answer[:80]!r}, in which `{verifier}` reads no {READS[verifier]}, so that no completion can be "
        "judged by it.",
        value=answer[:80],
        limit=f"a text with a {READS[verifier]}",
        remedy="Correct the label in the data set, or choose another verifier.",
    )
