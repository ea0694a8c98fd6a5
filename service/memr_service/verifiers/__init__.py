"""Verifiers: is a completion right? Pure functions of a completion and the right answer, which return 1.0 or 0.0.

exact.py     the same text
numeric/     the same final number
math.py      the same mathematics, by the package math-verify; math_worker.py is a process that runs it
"""

from __future__ import annotations

from collections.abc import Callable

from memr_client.errors import InvalidRequest

from memr_service.verifiers.exact import exact
from memr_service.verifiers.math import installed, math
from memr_service.verifiers.numeric import numeric

__all__ = ["VERIFIERS", "Verifier", "exact", "math", "numeric", "require"]

Verifier = Callable[[str, str], float]
"""(completion, answer) -> outcome."""

VERIFIERS: dict[str, Verifier] = {"exact": exact, "numeric": numeric, "math": math}
"""By the name that a run's config gives them."""


def require(verifier: str | None) -> None:
    """Refuse a verifier that does not work here.

    Raises:
        InvalidRequest: the package it needs is not installed.
    """
    if verifier == "math" and not installed():
        raise InvalidRequest(
            "The verifier 'math' needs the package math-verify, which this server does not have.",
            value=verifier,
            limit=["exact", "numeric"],
            remedy="Run pip install '.[math]' in a clone of memr and start it again, or choose another verifier.",
        )
