"""`Readiness`: whether the server accepts requests. Anybody may ask, so the result is cached for a second."""

from __future__ import annotations

import asyncio
import time

from memr_service.app.lifecycle import Lifecycle
from memr_service.engine.service import Service

FRESH_S = 1.0
"""Seconds for which the result of a check is reused; a check writes to the store."""
PATIENCE_S = 2.0
"""Seconds after which a store that does not respond counts as not ready."""


class Readiness:
    """Checks whether the server accepts requests."""

    def __init__(self, service: Service, lifecycle: Lifecycle) -> None:
        self._service = service
        self._lifecycle = lifecycle
        self._one_at_a_time = asyncio.Lock()
        self._checked_at = -FRESH_S
        self._failing: dict[str, str] = {}

    async def failing(self) -> dict[str, str]:
        """Failing check -> reason; empty if the server is ready."""
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
            return {"store": f"no response within {PATIENCE_S:g} s"}
