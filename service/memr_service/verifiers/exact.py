"""The verifier `exact`: the same text."""

from __future__ import annotations


def exact(completion: str, answer: str) -> float:
    """1.0 if both are the same text, apart from white space around them; else 0.0."""
    return float(completion.strip() == answer.strip())
