"""The refusal of a right answer that a verifier cannot read."""

from __future__ import annotations

from memr_client.errors import InvalidRequest


def unreadable(verifier: str) -> InvalidRequest:
    """The error to raise. It does not contain the answer."""
    return InvalidRequest(
        f"The verifier {verifier!r} cannot read the right answer, so that no completion can be judged by it.",
        limit={"numeric": "a text that holds a number", "math": "a formula or a number"}[verifier],
        remedy="Correct the label in the data set, or choose another verifier.",
    )
