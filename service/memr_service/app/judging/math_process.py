"""`MathProcess`: a process that verifies mathematics, apart from the server because a verification may hang."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process

from memr_service.verifiers import math_worker
from memr_service.verifiers.math_worker import Verdict

START_S = 60.0
"""Seconds in which a process must be ready."""
PATIENCE_S = 15.0
"""Seconds beyond its limit of processor time after which a process that still does not answer is killed."""


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
        process = await asyncio.create_subprocess_exec(
            *command, stdin=PIPE, stdout=PIPE, stderr=DEVNULL, start_new_session=True
        )
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
            return await asyncio.wait_for(self._ask([completion, answer, seconds]), seconds + PATIENCE_S)
        except (asyncio.TimeoutError, ConnectionError, EOFError, ValueError):
            await self.stop()
            return "unjudged"
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """End the process and its child."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
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
