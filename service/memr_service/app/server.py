"""`serve`: runs the app under uvicorn until a signal stops it."""

from __future__ import annotations

import errno
import gc
import ipaddress
import logging
import os
import socket
import sys
import threading
import time
from contextlib import ExitStack, suppress
from functools import partial
from types import FrameType

import uvicorn
from memr_client.errors import InvalidRequest, MemrError, Unavailable
from threadpoolctl import threadpool_limits

from memr_service.app import create_app, logs
from memr_service.app.acceptor import Acceptor
from memr_service.app.body import PARSER
from memr_service.app.connections import TICK_S, Connections
from memr_service.app.context import Context
from memr_service.run import malloc
from memr_service.settings import Settings

logger = logging.getLogger("memr.server")

KEEP_ALIVE_S = 75
"""Seconds for which idle connections are kept: longer than a usual training step, so that clients do not reconnect."""
SHUTDOWN_S = 1
"""Seconds after draining until remaining requests are aborted."""
SWITCH_S = 0.0005
"""Seconds after which a thread that computes lets another one run. The event loop waits so long for each of its turns,
and it needs several for one response; Python's default is ten times as much."""
YOUNG = 10_000
"""Objects made until Python looks for garbage among them. By default it does so for every twenty connections."""
GIVE_BACK_S = 10
"""Seconds between two times at which free memory is given back: what many requests, or runs that are not in use any
more, have left scattered over the heap. It takes some milliseconds in a thread, and is too rare to cost requests."""
CLOSE_S = 8
"""Seconds after that in which runs may save snapshots. Then the process ends, whatever it is doing."""


def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT. Then requests in progress get `drain_s` to finish, and the store is closed.

    Raises:
        MemrError: the server would be open to the network without keys, it cannot listen on its address, or its store
            cannot be opened.
    """
    _require_keys(settings)
    logs.configure(on_terminal=sys.stderr.isatty())
    malloc.keep()
    sys.setswitchinterval(SWITCH_S)
    threadpool_limits(1, user_api="blas")  # matrix products are small here, and more threads would only wait
    with ExitStack() as opened:
        sockets = [opened.enter_context(one) for one in listen(settings.host, settings.port)]
        settings = settings.model_copy(update={"port": sockets[0].getsockname()[1]})
        app = create_app(settings.model_copy(update={"address": settings.address or address_of(settings)}))
        context: Context = app.state.context
        connections = Connections(settings, KEEP_ALIVE_S, context.metrics.count_refused)
        config = uvicorn.Config(
            app,
            http=connections,  # type: ignore[arg-type]
            log_config=None,
            access_log=False,
            server_header=False,
            ws="none",
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=SHUTDOWN_S,
        )
        _Server(config, context, connections, address_of(settings)).run(sockets)


def listen(host: str, port: int) -> list[socket.socket]:
    """Listening sockets, one for each address that the host's name stands for. Port 0 takes a free port.

    The port is taken before the store is opened, so that a second server on it ends at once and changes nothing.

    Raises:
        InvalidRequest: there is no such host, or it is another machine.
        Unavailable: the port is taken or may not be used.
    """
    try:
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (socket.gaierror, UnicodeError) as error:
        raise InvalidRequest(
            f"there is no host {host!r} to listen on ({error}).",
            value=host,
            limit="an address or name of this machine",
            remedy="Give --host as 127.0.0.1, ::1 or 0.0.0.0, without http://, and the port with --port.",
        ) from None
    with ExitStack() as opened:
        sockets: list[socket.socket] = []
        for family, kind, protocol, _, address in dict.fromkeys(found):
            with suppress(_NoSuchFamily):
                where = (address[0], sockets[0].getsockname()[1] if sockets else port, *address[2:])
                sockets.append(opened.enter_context(_listening(family, kind, protocol, where)))
        if not sockets:
            raise Unavailable(f"this machine has no network of the kind that {host!r} needs.", value=host)
        opened.pop_all()
    return sockets


class _NoSuchFamily(Exception):
    """This machine has no IPv6, or no IPv4."""


def _listening(family: int, kind: int, protocol: int, address: tuple[object, ...]) -> socket.socket:
    try:
        made = socket.socket(family, kind, protocol)
    except OSError as error:
        raise _NoSuchFamily from error
    try:
        if os.name == "posix":  # elsewhere it would let two servers share the port
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.bind(address)
        made.listen(2048)
    except OSError as error:
        made.close()
        raise _cannot_listen(str(address[0]), address[1], error) from None
    return made


def _cannot_listen(host: str, port: object, error: OSError) -> MemrError:
    if error.errno == errno.EADDRINUSE:
        return Unavailable(
            f"port {port} on {host} is taken by another program.",
            value=port,
            limit="a free port",
            remedy="Stop that program, or give another port with --port (MEMR_PORT); 0 finds a free one.",
        )
    if error.errno == errno.EADDRNOTAVAIL:
        return InvalidRequest(
            f"{host} is not an address of this machine.",
            value=host,
            limit="an address of this machine",
            remedy="Give --host as 127.0.0.1, ::1 or 0.0.0.0.",
        )
    return Unavailable(
        f"cannot listen on port {port} of {host}: {error.strerror}.",
        value=port,
        remedy="Give another port with --port (MEMR_PORT). Ports below 1024 need the rights of root.",
    )


class _Server(uvicorn.Server):
    """A uvicorn server that drains after a signal before it shuts down."""

    def __init__(self, config: uvicorn.Config, context: Context, connections: Connections, address: str) -> None:
        super().__init__(config)
        self.connections = connections
        self.address = address
        self.encoder = context.settings.encoder
        self.settled = ""
        """The encoder's state when what lives as long as the process was last set apart."""
        self.lifecycle = context.lifecycle
        self.service = context.service
        self.drain_s = context.settings.drain_s

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start the app and accept connections, then say where."""
        gc.collect()
        gc.set_threshold(YOUNG)
        await super().startup([])
        protocol = partial(
            self.connections, config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )
        self.acceptor = Acceptor(sockets or [], protocol, self.connections.room)
        logs.started(self.service.store.url, self.encoder, self.address)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take no more connections, finish those there are, and stop the app."""
        await self.acceptor.close()
        await super().shutdown(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The first signal starts draining, the second ends it at once. The process exits with status 0."""
        if self.lifecycle.state == "draining":
            self.should_exit = True
        else:
            latest = threading.Timer(self.drain_s + SHUTDOWN_S + CLOSE_S, _give_up)
            latest.daemon = True
            latest.start()
        self.lifecycle.drain()

    async def on_tick(self, counter: int) -> bool:
        """Called ten times a second. Returns whether to shut down."""
        if counter % round(10 * TICK_S) == 0:
            self.connections.tick(self.server_state.connections)
        if counter % round(10 * GIVE_BACK_S) == 0:
            PARSER.submit(malloc.give_back)
        if (state := self.service.encoder_state()) != self.settled:
            self.settled = state
            gc.freeze()  # a search for garbage in all modules would stop everything for 0.1 s
        since = self.lifecycle.drained_at
        if since is not None:  # waiting requests cannot be completed, since no new ones are admitted
            await self.service.barriers.close()
        drained = since is not None and (self.lifecycle.inside == 0 or time.monotonic() - since > self.drain_s)
        return await super().on_tick(counter) or drained


def _give_up() -> None:
    """End the process. Every response that was sent is durable, so only requests without one are lost."""
    logger.warning("what is in progress does not finish in time and is given up; nothing that was answered is lost")
    logging.shutdown()
    os._exit(0)


def address_of(settings: Settings) -> str:
    """The address at which other machines reach this process; the host's name if it listens on all addresses."""
    host = socket.gethostname() if settings.host in ("", "0.0.0.0", "::") else settings.host
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.port}"


def _require_keys(settings: Settings) -> None:
    if settings.insecure or settings.keys_file is not None or _is_loopback(settings.host):
        return
    raise InvalidRequest(
        f"serving on {settings.host or 'all addresses'} without API keys would give everyone who reaches the port "
        "access to all runs.",
        value=settings.host,
        limit="127.0.0.1 or ::1 without keys",
        remedy="Make a key with `memr key` and give its file with --keys-file (MEMR_KEYS_FILE), serve on 127.0.0.1, or "
        "allow it with --insecure (MEMR_INSECURE=1).",
    )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
