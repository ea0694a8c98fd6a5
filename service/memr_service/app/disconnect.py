"""The caller's connection: notices when the caller disconnects while its request is processed."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect, Request

Result = TypeVar("Result")

ROUNDS = 4
"""Event-loop iterations that pass until a disconnect already in the socket is read and delivered."""


async def while_connected(request: Request, work: Coroutine[Any, Any, Result]) -> Result:
    """The result of the work, which is cancelled if the caller disconnects first.

    Raises:
        ClientDisconnect: the caller disconnected and the work was cancelled.
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
    try:
        return working.result()
    finally:
        del working  # its exception knows this frame: the two would keep each other, with the request


async def unless_disconnected(request: Request, working: asyncio.Task[Result]) -> Result:
    """The result of the work, which continues if the caller disconnects.

    Raises:
        ClientDisconnect: the caller disconnected before the response could be sent, even if the work is done.
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
