"""The verifier `math`: the same mathematics."""

from __future__ import annotations

from importlib.util import find_spec

from memr_service.verifiers.unreadable import unreadable


def installed() -> bool:
    """Whether the package math-verify is there."""
    return find_spec("math_verify") is not None


def math(completion: str, answer: str) -> float:
    """1.0 if both mean the same to the package math-verify (1/2 is 0.5, x+1 is 1+x), else 0.0.

    A completion that takes the package more than 5 s is not right. It measures the time with a signal, so `math` works
    in a process's main thread only (`memr_service.app.openrlhf.verifier_pool` has processes for it).

    Raises:
        InvalidRequest: the answer cannot be read.
    """
    from math_verify import parse, verify

    right = parse(_as_latex(answer))
    if not right:
        raise unreadable("math")
    return float(verify(right, parse(completion)))


def _as_latex(answer: str) -> str:
    """Put a bare answer between dollars; of a worked answer, take what follows its final mark."""
    answer = answer.rpartition("####")[2].strip()
    return answer if "$" in answer or "\\boxed" in answer else f"${answer}$"
