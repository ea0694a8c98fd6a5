"""Work of the event loop that comes in bursts: a few pieces at a time, so that others get their turns in between."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

TOGETHER = 16
"""Functions called in one iteration of the event loop."""


class Bursts:
    """Calls functions in their order: at once as long as there are few, the others in later iterations."""

    def __init__(self) -> None:
        self._waiting: deque[Callable[[], object]] = deque()
        self._called = 0
        """Functions called in this iteration."""

    def call(self, function: Callable[[], object]) -> None:
        """Call a function soon. It must not raise."""
        if self._called == 0 and not self._waiting:
            asyncio.get_running_loop().call_soon(self._next)
        if self._called < TOGETHER and not self._waiting:
            self._called += 1
            function()
        else:
            self._waiting.append(function)

    def _next(self) -> None:
        self._called = 0
        if self._waiting:
            asyncio.get_running_loop().call_soon(self._next)
        for _ in range(min(TOGETHER, len(self._waiting))):
            self._waiting.popleft()()
