"""`VerifierPool`: outcomes by a run's verifier. `math` may hang, so it runs in separate processes with a time limit."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Sequence

from memr_client.errors import InvalidRequest

from memr_service.verifiers import VERIFIERS
from memr_service.verifiers.math import math
from memr_service.verifiers.unreadable import unreadable

logger = logging.getLogger("memr.app")

PROCESSES = 4
"""Most processes. One verification takes some milliseconds."""
TIMEOUT_S = 15.0
"""Seconds after which a process is killed and its completion counts as wrong. math-verify's own limit is shorter."""


class VerifierPool:
    """Verifies completions for one event loop. Close it at the end."""

    def __init__(self) -> None:
        self._slots = asyncio.Semaphore(PROCESSES)
        self._idle: list[Process] = []

    async def outcomes(self, verifier: str, completions: Sequence[str], answers: Sequence[str]) -> list[float]:
        """The outcome of each completion (n): 1.0 if it is right, otherwise 0.0.

        Args:
            verifier: "exact", "numeric" or "math".
            completions: the completions (n).
            answers: the right answers (n).

        Raises:
            InvalidRequest: the verifier cannot read an answer.
        """
        pairs = zip(completions, answers, strict=True)
        if verifier == "math":
            return await asyncio.gather(*(self._math(completion, answer) for completion, answer in pairs))
        return [VERIFIERS[verifier](completion, answer) for completion, answer in pairs]

    async def close(self) -> None:
        """Stop the processes."""
        while self._idle:
            await _stop(self._idle.pop())

    async def _math(self, completion: str, answer: str) -> float:
        async with self._slots:
            process = self._idle.pop() if self._idle else await _start()
            try:
                outcome = await asyncio.wait_for(_verify(process, completion, answer), TIMEOUT_S)
            except (asyncio.TimeoutError, ConnectionError, EOFError) as error:
                logger.warning("a completion could not be verified (%s) and counts as wrong", type(error).__name__)
                await _stop(process)
                return 0.0
            except BaseException:
                await _stop(process)
                raise
            self._idle.append(process)
        if outcome is None:
            raise unreadable("math")
        return outcome


async def _start() -> Process:
    return await asyncio.create_subprocess_exec(sys.executable, "-m", __name__, stdin=PIPE, stdout=PIPE, stderr=DEVNULL)


async def _verify(process: Process, completion: str, answer: str) -> float | None:
    """The outcome that the process computes; None if it cannot read the answer."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps([completion, answer]).encode() + b"\n")
    await process.stdin.drain()
    line = await process.stdout.readline()
    if not line:
        raise EOFError
    outcome: float | None = json.loads(line)
    return outcome


async def _stop(process: Process) -> None:
    if process.returncode is None:
        process.kill()
    await process.communicate()


def _work() -> None:
    """The process: read lines [completion, answer], write the outcome of each, until the input ends."""
    logging.disable()  # math-verify logs the texts it cannot read
    for line in sys.stdin:
        try:
            outcome = math(*json.loads(line))
        except InvalidRequest:
            outcome = None
        print(json.dumps(outcome), flush=True)


if __name__ == "__main__":
    _work()
