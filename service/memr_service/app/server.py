"""`serve`: the app under uvicorn, until a signal ends it."""

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
"""Idle connections are kept longer than a training step commonly takes, so that a client need not connect anew."""
LAST_CALL_S = 1
"""What outlives the draining is broken off after this."""


def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT: requests inside are finished (`drain_s` at most), the store is closed.

    Raises:
        MemrError: it would be open to the network without keys, or its store cannot be opened.
    """
    _refuse_open_door(settings)
    logs.configure()
    malloc.keep()
    threadpool_limits(1, user_api="blas")  # numpy's products are small here: more threads wait more than they work
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
        timeout_graceful_shutdown=LAST_CALL_S,
    )
    _Server(config, lifecycle, app.state.context.service, settings.drain_s).run()


class _Server(uvicorn.Server):
    """uvicorn, which on a signal stays and drains before it shuts its doors."""

    def __init__(self, config: uvicorn.Config, lifecycle: Lifecycle, service: Service, drain_s: float) -> None:
        super().__init__(config)
        self.lifecycle = lifecycle
        self.service = service
        self.drain_s = drain_s

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The first signal drains; the second does not wait for it. The process ends by itself, with exit code 0."""
        if self.lifecycle.state == "draining":
            self.should_exit = True
        self.lifecycle.drain()

    async def on_tick(self, counter: int) -> bool:
        """Called ten times a second: whether it is time to go."""
        since = self.lifecycle.drained_at
        if since is not None:  # those whom they wait for are not let in any more
            await self.service.barriers.leave()
        drained = since is not None and (self.lifecycle.inside == 0 or time.monotonic() - since > self.drain_s)
        return await super().on_tick(counter) or drained


def address_of(settings: Settings) -> str:
    """Where others reach this process: at the machine's name where it listens on all addresses."""
    host = socket.gethostname() if settings.host in ("", "0.0.0.0", "::") else settings.host
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.port}"


def _refuse_open_door(settings: Settings) -> None:
    if settings.insecure or settings.keys_file is not None or _is_loopback(settings.host):
        return
    raise MemrError(
        f"Serving on {settings.host} without API keys would open every run to whoever reaches the port. "
        "Make a key with `memr key` and name its file in MEMR_KEYS_FILE, serve on 127.0.0.1, "
        "or allow it with MEMR_INSECURE=1."
    )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
