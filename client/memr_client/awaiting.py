"""`settled`: the result of a verifier that may be asynchronous, for callers that are not."""

from __future__ import annotations

import asyncio
import inspect
import os
import threading
from typing import Any

_loops: dict[int, asyncio.AbstractEventLoop] = {}
_starting = threading.Lock()


def settled(result: Any) -> Any:
    """The result itself, or what it gives when awaited.

    Awaitables of one process run on one event loop in a thread of its own, so that a verifier may keep connections
    between its calls, and may be called where another loop is running.
    """
    if not inspect.isawaitable(result):
        return result
    return asyncio.run_coroutine_threadsafe(_outcome_of(result), _loop()).result()


async def _outcome_of(awaitable: Any) -> Any:
    return await awaitable


def _loop() -> asyncio.AbstractEventLoop:
    with _starting:
        if (loop := _loops.get(os.getpid())) is None:  # a forked child has no thread that runs its parent's loop
            loop = _loops[os.getpid()] = asyncio.new_event_loop()
            threading.Thread(target=loop.run_forever, name="memr-verifiers", daemon=True).start()
        return loop
