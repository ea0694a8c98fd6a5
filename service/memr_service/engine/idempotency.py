"""Two concurrent requests with one request id share one computation (L12)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from functools import partial
from typing import Any, Generic, TypeVar

from memr_client.errors import InvalidRequest

T = TypeVar("T")


class SingleFlight(Generic[T]):
    """Work in flight, by name. It is cancelled when the last caller that waits for it has left."""

    def __init__(self) -> None:
        self._tasks: dict[Hashable, tuple[bytes, asyncio.Task[T]]] = {}
        self._waiting: dict[asyncio.Task[T], int] = {}

    def __contains__(self, name: Hashable) -> bool:
        return name in self._tasks

    async def __call__(
        self, name: Hashable, request_id: str, digest: bytes, work: Callable[[], Coroutine[Any, Any, T]]
    ) -> T:
        """The result of the work. If work of this name is in flight, its result is waited for instead.

        Args:
            digest: of the request's body.
            work: begins the work.

        Raises:
            InvalidRequest: the work in flight under this name has another body.
        """
        while True:
            if name not in self._tasks or self._tasks[name][1].cancelled():
                self._tasks[name] = (digest, asyncio.create_task(work()))
                self._tasks[name][1].add_done_callback(partial(self._forget, name))
            first, task = self._tasks[name]
            require_same_body(request_id, digest, first)
            try:
                return await self._wait_for(task)
            except asyncio.CancelledError:
                if not task.cancelled():
                    raise  # this caller has left
                # All earlier callers have left, so the work was cancelled: begin again.

    def _forget(self, name: Hashable, task: asyncio.Task[T]) -> None:
        """Remove work that has ended, unless work of that name was begun again."""
        if self._tasks[name][1] is task:
            del self._tasks[name]

    async def _wait_for(self, task: asyncio.Task[T]) -> T:
        self._waiting[task] = self._waiting.get(task, 0) + 1
        try:
            return await asyncio.shield(task)
        finally:
            self._waiting[task] -= 1
            if not self._waiting[task]:
                del self._waiting[task]
                task.cancel()  # work that must not be interrupted stays in flight until it is done

    async def settled(self) -> None:
        """Wait until nothing is in flight."""
        await asyncio.gather(*(task for _, task in self._tasks.values()), return_exceptions=True)


def require_same_body(request_id: str, digest: bytes, first: bytes) -> None:
    """Raise `InvalidRequest` if a request id was first used with another body.

    Args:
        digest, first: of this request's body and of the first one's.
    """
    if digest != first:
        raise InvalidRequest(
            f"request_id {request_id!r} was used before with another body.",
            value=request_id,
            limit="one body for each request_id",
            remedy="Make a new request_id for every new batch.",
        )
