"""Outcomes of completions by a run's verifier. `math` may take long or for ever, so it runs in processes of its own."""

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
"""At most so many at once; a verdict takes one some milliseconds."""
LONGEST_S = 15.0
"""Then a process is ended and its completion is not right; math-verify itself gives up sooner, if it can."""


class VerifierPool:
    """Judges completions, from one event loop; close it in the end."""

    def __init__(self) -> None:
        self._turn = asyncio.Semaphore(PROCESSES)
        self._idle: list[Process] = []

    async def outcomes(self, verifier: str, completions: Sequence[str], answers: Sequence[str]) -> list[float]:
        """The outcome of each completion (n): 1.0 where it is right, else 0.0.

        Raises:
            InvalidRequest: an answer is not one.
        """
        pairs = zip(completions, answers, strict=True)
        if verifier == "math":
            return await asyncio.gather(*(self._math(completion, answer) for completion, answer in pairs))
        return [VERIFIERS[verifier](completion, answer) for completion, answer in pairs]

    async def close(self) -> None:
        """End the processes."""
        while self._idle:
            await _end(self._idle.pop())

    async def _math(self, completion: str, answer: str) -> float:
        async with self._turn:
            process = self._idle.pop() if self._idle else await _start()
            try:
                verdict = await asyncio.wait_for(_ask(process, completion, answer), LONGEST_S)
            except (asyncio.TimeoutError, ConnectionError, EOFError) as error:
                logger.warning("a completion could not be verified (%s): it counts as wrong", type(error).__name__)
                await _end(process)
                return 0.0
            except BaseException:
                await _end(process)
                raise
            self._idle.append(process)
        if verdict is None:
            raise unreadable("math")
        return verdict


async def _start() -> Process:
    return await asyncio.create_subprocess_exec(sys.executable, "-m", __name__, stdin=PIPE, stdout=PIPE, stderr=DEVNULL)


async def _ask(process: Process, completion: str, answer: str) -> float | None:
    """The process's verdict; None where the answer is unreadable."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps([completion, answer]).encode() + b"\n")
    await process.stdin.drain()
    line = await process.stdout.readline()
    if not line:
        raise EOFError
    verdict: float | None = json.loads(line)
    return verdict


async def _end(process: Process) -> None:
    if process.returncode is None:
        process.kill()
    await process.communicate()


def _work() -> None:
    """What such a process does: a line [completion, answer] in, a verdict out, until nobody is there any more."""
    logging.disable()  # math-verify logs the texts it cannot read
    for line in sys.stdin:
        try:
            verdict = math(*json.loads(line))
        except InvalidRequest:
            verdict = None
        print(json.dumps(verdict), flush=True)


if __name__ == "__main__":
    _work()
