"""`Readiness`: whether the server accepts requests. Anybody may ask, so the result is cached for a second."""

from __future__ import annotations

import asyncio
import math
import time

from memr_service.app.lifecycle import Lifecycle
from memr_service.engine.service import Service

FRESH_S = 1.0
"""Seconds for which the result of a check is reused; a check writes to the store."""
SOON_S = 0.05
"""Seconds that a probe waits for a check, once there has been one."""
PATIENCE_S = 2.0
"""Seconds after which a store that does not respond counts as not ready."""


class Readiness:
    """Checks whether the server accepts requests."""

    def __init__(self, service: Service, lifecycle: Lifecycle) -> None:
        self._service = service
        self._lifecycle = lifecycle
        self._checking: asyncio.Task[None] | None = None
        self._checked_at = -math.inf
        self._failing: dict[str, str] = {}

    async def failing(self) -> dict[str, str]:
        """Failing check -> reason; empty if the server is ready. Where a check takes long because the server is busy,
        it is the result of the one before."""
        if self._lifecycle.state != "serving":
            return {"server": self._lifecycle.state}
        if self._checking is None and time.monotonic() - self._checked_at >= FRESH_S:
            self._checking = asyncio.create_task(self._check())
        if (checking := self._checking) is not None:
            is_first = self._checked_at == -math.inf
            await asyncio.wait({checking}, timeout=None if is_first else SOON_S)
            if checking.done():
                checking.result()
        return self._failing

    async def _check(self) -> None:
        try:
            self._failing = await asyncio.wait_for(self._service.ready(), PATIENCE_S)
        except asyncio.TimeoutError:
            self._failing = {"store": f"no response within {PATIENCE_S:g} s"}
        finally:
            self._checking, self._checked_at = None, time.monotonic()
