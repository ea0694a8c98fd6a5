"""The caller's connection: noticing, while an answer is made, that nobody waits for it any more."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect, Request

T = TypeVar("T")

ROUNDS = 4
"""Rounds of the event loop in which it reads an end that lies in the socket, and tells it to who waits for it."""


async def while_connected(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """The work's result; the work is cancelled when the caller goes away first.

    Raises:
        ClientDisconnect: the caller went away, and the work was not too far to be cancelled.
    """
    working = asyncio.create_task(work)
    leaving = asyncio.create_task(_disconnected(request))
    try:
        await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
    finally:
        leaving.cancel()
        if not working.done():
            working.cancel()
            await asyncio.wait((working,))
    if working.cancelled():
        raise ClientDisconnect
    return working.result()


async def waited_for(request: Request, working: asyncio.Task[T]) -> T:
    """The result of work that goes on when the caller goes away.

    Raises:
        ClientDisconnect: the caller went away before the answer could be given, whether it is there or not.
    """
    leaving = asyncio.create_task(_disconnected(request))
    try:
        await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
        for _ in range(ROUNDS):
            await asyncio.sleep(0)
        if leaving.done():
            raise ClientDisconnect
        return working.result()
    finally:
        leaving.cancel()


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
