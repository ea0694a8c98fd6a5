"""The thread in which everything is done to runs, one thing after another, and what is done behind the answers."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from memr_client.errors import Unavailable

T = TypeVar("T")

logger = logging.getLogger("memr.engine")

BEHIND_S = 0.001
"""After so long an answer has left: what it need not wait for is done then."""


class RunThread:
    """One thread, asked from one event loop."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "memr-engine")
        self._behind: deque[Callable[[], object]] = deque()

    async def ask(self, function: Callable[..., T], *args: Any) -> T:
        """What a function of runs gives, called in the thread when all that was put behind an answer has been done.

        Raises:
            Unavailable: the engine has been shut down.
        """
        try:
            self._catch_up()
            return await asyncio.get_running_loop().run_in_executor(self._thread, function, *args)
        except RuntimeError as error:
            if "shutdown" in str(error):
                raise shutting_down() from None
            raise

    def behind(self, *jobs: Callable[[], object]) -> None:
        """Have jobs done when the answer that is ready now has left, or before anything else is asked."""
        self._behind.extend(jobs)
        asyncio.get_running_loop().call_later(BEHIND_S, self._catch_up)

    def shutdown(self) -> None:
        """Finish what was asked; nothing can be asked any more."""
        self._thread.shutdown()

    def _catch_up(self) -> None:
        while self._behind:
            self._thread.submit(_do, self._behind.popleft())


def shutting_down() -> Unavailable:
    """What everybody is told who comes too late."""
    return Unavailable("The service is shutting down.", remedy="Try again.", retry_after=1)


def _do(job: Callable[[], object]) -> None:
    try:
        job()
    except Exception:
        logger.exception("what was to be done behind an answer failed")
