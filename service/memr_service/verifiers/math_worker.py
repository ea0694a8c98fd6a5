"""A process that runs the verifier `math`: `python -m memr_service.verifiers.math_worker`.

It writes a line when it is ready. Then it reads lines [completion, answer, seconds] and writes the verdict on each.

A large power is computed in C code, which no Python signal interrupts. So a forked child does the work, and the kernel
ends it. Another child costs some milliseconds, because math-verify is loaded already.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import sys
from typing import Literal, TextIO

from memr_client.errors import InvalidRequest

from memr_service.verifiers.math import TooSlow, math, timed

Verdict = Literal["right", "wrong", "unreadable", "unjudged"]
"""Of a completion. `unreadable`: the verifier cannot read the right answer. `unjudged`: it took too long."""

WARM_UP = ("\\frac{x^2+2x+1}{x+1}", "\\sin^2 x + \\sqrt{3}", "x \\in [-2, 7]", "\\int_0^1 x^2 dx", "1/2")
"""Formulas that need most of math-verify."""
NICE = 10
"""Added to the processes' niceness: the server answers before they think."""
MARGIN_S = 0.1
"""Seconds of processor time after its limit when a child that does not stop is ended."""


class Child:
    """A fork of this process, which verifies until its input ends."""

    def __init__(self) -> None:
        ours, its = socket.socketpair()
        self._pid = os.fork()
        if self._pid == 0:
            ours.close()
            _verify(its.makefile("rw"))
            os._exit(0)
        its.close()
        self._connection = ours
        self._lines = ours.makefile("r")

    def verdict(self, line: str) -> str | None:
        """The line with the verdict on a line; None if the child was ended."""
        try:
            self._connection.sendall(line.encode())
            return self._lines.readline() or None
        except ConnectionError:
            return None

    def remove(self) -> None:
        """Remove what is left of the child."""
        self._lines.close()
        self._connection.close()
        os.kill(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)


def work() -> None:
    """Write verdicts until the input ends."""
    os.nice(NICE)
    logging.disable()  # math-verify logs the texts it cannot read
    for formula in WARM_UP:  # loads what is loaded late, before time is measured
        math(formula, f"${formula}$")
    child = Child()
    _print("ready")
    for line in sys.stdin:
        if (verdict := child.verdict(line)) is None:
            child.remove()
            child = Child()
            _print("unjudged")
        else:
            print(verdict, end="", flush=True)


def _verify(lines: TextIO) -> None:
    """The child's work."""
    for line in lines:
        completion, answer, seconds = json.loads(line)
        signal.setitimer(signal.ITIMER_PROF, seconds + MARGIN_S)  # its signal ends a process
        verdict = _verdict(completion, answer, seconds)
        signal.setitimer(signal.ITIMER_PROF, 0)
        lines.write(json.dumps(verdict) + "\n")
        lines.flush()


def _verdict(completion: str, answer: str, seconds: float) -> Verdict:
    try:
        return "right" if timed(completion, answer, seconds) else "wrong"
    except InvalidRequest:
        return "unreadable"
    except TooSlow:
        return "unjudged"


def _print(said: str) -> None:
    print(json.dumps(said), flush=True)


if __name__ == "__main__":
    work()
