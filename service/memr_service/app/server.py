"""`serve`: runs the app under uvicorn until a signal stops it."""

from __future__ import annotations

import ipaddress
import socket
import time
from types import FrameType

import uvicorn
from memr_client.errors import MemrError
from threadpoolctl import threadpool_limits

from memr_service.app import create_app, logs
from memr_service.app.lifecycle import Lifecycle
from memr_service.engine.service import Service
from memr_service.run import malloc
from memr_service.settings import Settings

KEEP_ALIVE_S = 75
"""Seconds for which idle connections are kept: longer than a usual training step, so that clients do not reconnect."""
SHUTDOWN_S = 1
"""Seconds after draining until remaining requests are aborted."""


def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT. Then requests in progress get `drain_s` to finish, and the store is closed.

    Raises:
        MemrError: the server would be open to the network without keys, or its store cannot be opened.
    """
    _require_keys(settings)
    logs.configure()
    malloc.keep()
    threadpool_limits(1, user_api="blas")  # matrix products are small here, and more threads would only wait
    app = create_app(settings.model_copy(update={"address": settings.address or address_of(settings)}))
    lifecycle: Lifecycle = app.state.context.lifecycle
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        server_header=False,
        ws="none",
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=SHUTDOWN_S,
    )
    _Server(config, lifecycle, app.state.context.service, settings.drain_s).run()


class _Server(uvicorn.Server):
    """A uvicorn server that drains after a signal before it shuts down."""

    def __init__(self, config: uvicorn.Config, lifecycle: Lifecycle, service: Service, drain_s: float) -> None:
        super().__init__(config)
        self.lifecycle = lifecycle
        self.service = service
        self.drain_s = drain_s

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The first signal starts draining, the second ends it at once. The process exits with status 0."""
        if self.lifecycle.state == "draining":
            self.should_exit = True
        self.lifecycle.drain()

    async def on_tick(self, counter: int) -> bool:
        """Called ten times a second. Returns whether to shut down."""
        since = self.lifecycle.drained_at
        if since is not None:  # waiting requests cannot be completed, since no new ones are admitted
            await self.service.barriers.close()
        drained = since is not None and (self.lifecycle.inside == 0 or time.monotonic() - since > self.drain_s)
        return await super().on_tick(counter) or drained


def address_of(settings: Settings) -> str:
    """The address at which other machines reach this process; the host's name if it listens on all addresses."""
    host = socket.gethostname() if settings.host in ("", "0.0.0.0", "::") else settings.host
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.port}"


def _require_keys(settings: Settings) -> None:
    if settings.insecure or settings.keys_file is not None or _is_loopback(settings.host):
        return
    raise MemrError(
        f"Serving on {settings.host} without API keys would give everyone who reaches the port access to all runs. "
        "Make a key with `memr key` and set MEMR_KEYS_FILE to its file, serve on 127.0.0.1, or allow it with "
        "MEMR_INSECURE=1."
    )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
