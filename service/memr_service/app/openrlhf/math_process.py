"""`MathProcess`: a process that verifies mathematics, because a verification may hang and then has to be killed."""

from __future__ import annotations

import asyncio
import json
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process

from memr_service.verifiers import math_worker
from memr_service.verifiers.math_worker import Verdict

START_S = 60.0
"""Seconds in which a process must be ready."""
PATIENCE = 3.0
"""A process is killed after this many times its limit of processor time: a busy machine makes it wait."""
LEAST_S = 2.5
"""But not sooner than after this many seconds."""


class MathProcess:
    """A running process, for one verification at a time."""

    def __init__(self, process: Process) -> None:
        self._process = process

    @classmethod
    async def start(cls) -> MathProcess:
        """A process that is ready.

        Raises:
            OSError: it cannot be started.
        """
        command = (sys.executable, "-m", math_worker.__name__)
        process = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE, stderr=DEVNULL)
        started = cls(process)
        try:
            await asyncio.wait_for(started._line(), START_S)
        except (asyncio.TimeoutError, EOFError):
            await started.stop()
            raise OSError("the process for the verifier 'math' did not start") from None
        except BaseException:
            await started.stop()
            raise
        return started

    @property
    def is_alive(self) -> bool:
        """Whether it can take another verification."""
        return self._process.returncode is None

    async def judge(self, completion: str, answer: str, seconds: float) -> Verdict:
        """The verdict on a completion. A process that hangs or dies is stopped, and the completion is unjudged."""
        try:
            return await asyncio.wait_for(self._ask([completion, answer, seconds]), max(PATIENCE * seconds, LEAST_S))
        except (asyncio.TimeoutError, ConnectionError, EOFError, ValueError):
            await self.stop()
            return "unjudged"
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """End the process."""
        if self.is_alive:
            self._process.kill()
        await self._process.communicate()

    async def _ask(self, question: list[str | float]) -> Verdict:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(question).encode() + b"\n")
        await self._process.stdin.drain()
        verdict: Verdict = json.loads(await self._line())
        return verdict

    async def _line(self) -> bytes:
        assert self._process.stdout is not None
        if not (line := await self._process.stdout.readline()):
            raise EOFError
        return line
