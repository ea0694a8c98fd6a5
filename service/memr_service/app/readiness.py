"""Whether the server takes requests. Whoever reaches the port may ask, so it is cheap however often it is asked."""

from __future__ import annotations

import asyncio
import time

from memr_service.app.lifecycle import Lifecycle
from memr_service.engine.service import Service

FRESH_S = 1.0
"""A check of the store writes to it; its result is good for so long."""
PATIENCE_S = 2.0
"""A store that says nothing for so long is not ready."""


class Readiness:
    """What keeps a server from taking requests."""

    def __init__(self, service: Service, lifecycle: Lifecycle) -> None:
        self._service = service
        self._lifecycle = lifecycle
        self._one_at_a_time = asyncio.Lock()
        self._checked_at = -FRESH_S
        self._failing: dict[str, str] = {}

    async def failing(self) -> dict[str, str]:
        """Failing check -> reason; empty when the server is ready."""
        if self._lifecycle.state != "serving":
            return {"server": self._lifecycle.state}
        async with self._one_at_a_time:
            if time.monotonic() - self._checked_at >= FRESH_S:
                self._failing = await self._check()
                self._checked_at = time.monotonic()
        return self._failing

    async def _check(self) -> dict[str, str]:
        try:
            return await asyncio.wait_for(self._service.ready(), PATIENCE_S)
        except asyncio.TimeoutError:
            return {"store": f"no answer within {PATIENCE_S:g} s"}
