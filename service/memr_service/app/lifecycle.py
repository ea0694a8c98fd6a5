"""The server's state - starting, serving or draining - and the number of requests that are being processed."""

from __future__ import annotations

import time

from memr_client.errors import Unavailable
from starlette.types import ASGIApp, Receive, Scope, Send

ALWAYS_OPEN = {"/livez", "/readyz", "/metrics"}
"""Routes that respond in every state, and that a shutdown does not wait for."""


class Lifecycle:
    """Whether requests are admitted: from `open` to `drain`, each called once."""

    def __init__(self) -> None:
        self.inside = 0
        """Requests that are being processed."""
        self.drained_at: float | None = None
        """When the draining began (`time.monotonic`)."""
        self._opened = False

    @property
    def state(self) -> str:
        """`starting`, `serving` or `draining`."""
        if self.drained_at is not None:
            return "draining"
        return "serving" if self._opened else "starting"

    def open(self) -> None:
        """From now on admit requests."""
        self._opened = True

    def drain(self) -> None:
        """From now on refuse new requests."""
        if self.drained_at is None:
            self.drained_at = time.monotonic()


class Admit:
    """ASGI middleware: counts requests in and out; refuses those that come too early or too late."""

    def __init__(self, app: ASGIApp, lifecycle: Lifecycle) -> None:
        self.app = app
        self.lifecycle = lifecycle

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on.

        Raises:
            Unavailable: the service is starting or draining.
        """
        if scope["type"] != "http" or scope["state"]["route"] in ALWAYS_OPEN:
            await self.app(scope, receive, send)
            return
        if self.lifecycle.state != "serving":
            raise Unavailable(
                f"The service is {self.lifecycle.state}.",
                value=self.lifecycle.state,
                limit="serving",
                remedy="Try again, here or at another replica.",
                retry_after=1,
            )
        self.lifecycle.inside += 1
        try:
            await self.app(scope, receive, send)
        finally:
            self.lifecycle.inside -= 1
