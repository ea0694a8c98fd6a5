"""The threads in which questions are answered, apart from those that rewards need, and how many questions at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from memr_client.errors import Overloaded

T = TypeVar("T")

THREADS = 4


class Readers:
    """A few threads for reading. The event loop's own executor is left to rewards."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(THREADS, "memr-readers")

    async def ask(self, function: Callable[..., T], *args: Any) -> T:
        """The result of a function, called in one of the threads. It is not called if the caller has left before."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, function, *args)

    def shutdown(self) -> None:
        """Finish what has begun and drop what has not."""
        self._threads.shutdown(cancel_futures=True)


class Gate:
    """How many questions of one kind are worked on at once. Some more wait, the others are refused.

    Args:
        kind: what they are called in a refusal.
        most: how many at once. waiting: how many more may wait.
    """

    def __init__(self, kind: str, most: int, waiting: int) -> None:
        self._kind = kind
        self._most = most
        self._waiting = waiting
        self._inside = 0
        self._turn = asyncio.Semaphore(most)

    def require_room(self) -> None:
        """Refuse a question that could not even wait.

        Raises:
            Overloaded: as many wait as may.
        """
        if self._inside >= self._most + self._waiting:
            raise Overloaded(
                f"{self._inside} {self._kind} are being answered or wait.",
                value=self._inside,
                limit=self._most + self._waiting,
                remedy="Try again when some have been answered.",
                retry_after=5,
            )

    @asynccontextmanager
    async def entered(self) -> AsyncIterator[None]:
        """Wait for a place, and have it in the `with` block.

        Raises:
            Overloaded: as many wait as may.
        """
        self.require_room()
        self._inside += 1
        try:
            async with self._turn:
                yield
        finally:
            self._inside -= 1
