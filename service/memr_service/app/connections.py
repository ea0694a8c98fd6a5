"""Connections: how many there may be, and how long each may wait for its client.

uvicorn limits neither. Who sends nothing, half a header, a slow body, or takes nothing of a response would keep a file
of this process open for as long as they like, without a key. A request is worked on once its body is there; of a large
body, 64 KiB: then `memr_service.app.arrival` limits the time of the rest.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import secrets
from collections import Counter, OrderedDict
from collections.abc import Callable
from functools import partial
from typing import Any

from memr_client.errors import Overloaded, ProblemError, TooLarge, TooSlow
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT, FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from memr_service.app.arrival import too_slow
from memr_service.app.bursts import Bursts
from memr_service.app.lifecycle import ALWAYS_OPEN
from memr_service.app.problems import problem_response
from memr_service.settings import Settings

logger = logging.getLogger("memr.app")

OWN_FILES = 256
"""Open files that are left for everything but connections."""
MOST_HEADERS = 1 << 16
"""Bytes of a request line and headers, and of what follows a body (trailers)."""
TICK_S = 1.0
"""Seconds between two calls of `Connections.tick`."""
SPARED = 64
"""Newest connections that owe a request and are not closed for another while one owes a body: their requests may be on
their way, or those of trainers between two steps."""
LINGER_S, LINGERING = 0.5, 64
"""Seconds for which a refused connection stays open, so that its client can read why; and how many may."""


class Room:
    """Connections that share a limit. Where there is none left, one leaves whose client has been waited for longest:
    one that owes a request, if many do, or a body."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.refusal = _too_many(most)
        self.open: set[Connection] = set()
        self.idle: OrderedDict[Connection, None] = OrderedDict()
        """Those that owe a request's headers, since longest first."""
        self.receiving: OrderedDict[Connection, None] = OrderedDict()
        """Those that owe the rest of a body, since longest first."""

    def make(self) -> bool:
        """Make room for one more; returns whether there is."""
        if len(self.open) < self.most:
            return True
        owing = self.receiving if self.receiving and len(self.idle) <= SPARED else self.idle
        if not owing:
            return False
        next(iter(owing)).refuse(self.refusal)
        return True

    def place(self, connection: Connection, owes: str | None) -> None:
        """Note what an open connection's client owes: `idle`, `receiving` or nothing."""
        self.idle.pop(connection, None)
        self.receiving.pop(connection, None)
        if owes is not None:
            getattr(self, owes)[connection] = None

    def leave(self, connection: Connection) -> None:
        """A connection is closed or refused."""
        self.open.discard(connection)
        self.place(connection, None)


class Connections:
    """All connections of a server.

    Args:
        count: called with a status and how many were refused with it since the last call.
    """

    def __init__(self, settings: Settings, keep_alive_s: float, count: Callable[[int, int], None]) -> None:
        self.header_s, self.body_s, self.keep_alive_s = settings.header_s, settings.body_s, keep_alive_s
        self.count = count
        self.all = Room(_within_open_files(settings.max_connections))
        self.most_of_peer = max(1, min(settings.max_peer_connections, self.all.most * 3 // 4))
        self.of_peer: dict[str, Room] = {}
        self.refused = Counter[int]()
        """Status -> refusals that are not counted yet."""
        self.lingering = 0
        self.bursts = Bursts()

    def __call__(self, **given: Any) -> Connection:
        """The protocol of a new connection; uvicorn's argument `http`."""
        return Connection(self, **given)

    def rooms(self, peer: str) -> tuple[Room, Room]:
        """Where a connection of this peer is counted."""
        room = self.of_peer.get(peer)
        if room is None:
            room = self.of_peer[peer] = Room(self.most_of_peer)
        return room, self.all

    def room(self) -> int:
        """How many connections more may be looked at. It is never 0, for who comes may take another one's place."""
        return self.all.most - len(self.all.open) + LINGERING

    def leave(self, connection: Connection) -> None:
        """A connection is closed or refused."""
        for room in connection.rooms:
            room.leave(connection)
        connection.rooms = ()
        if connection.peer in self.of_peer and not self.of_peer[connection.peer].open:
            del self.of_peer[connection.peer]

    def tick(self, connections: set[Any]) -> None:
        """Count the time that each client is waited for, and end it with those that take too long."""
        for connection in list(connections):
            connection.tick()
        while self.refused:
            self.count(*self.refused.popitem())


class Connection(HttpToolsProtocol):
    """One connection."""

    def __init__(self, connections: Connections, **given: Any) -> None:
        super().__init__(**given)
        self.among = connections
        self.rooms: tuple[Room, ...] = ()
        self.peer = ""
        self.reading: str | None = None
        """Which part of a request was begun and is not complete: `headers` or `body`."""
        self.requests = 0
        """Requests that were begun."""
        self.refused = False
        self._header_bytes = 0
        """Bytes since the request began, or since the last piece of its body."""
        self._is_body = False
        self._arriving: tuple[RequestResponseCycle, Any] | None = None
        """The request whose body is awaited, and the app that will respond."""
        self._owed: tuple[Any, ...] = ()
        self._waited = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Find room for the connection, or refuse it."""
        # As uvicorn does, but for sockets made to ask for addresses that the transport knows: a tenth of the time.
        self.connections.add(self)
        self.transport, self.flow = transport, FlowControl(transport)
        self.server, self.client = (_address(transport, name) for name in ("sockname", "peername"))
        self.scheme = "http"
        self.peer = _peer(self.client)
        rooms = self.among.rooms(self.peer)
        for room in rooms:
            if not room.make():
                self.refuse(room.refusal)
                return
        self.rooms = self.among.rooms(self.peer)  # making room may have removed a peer's last connection
        for room in self.rooms:
            room.open.add(self)
            room.place(self, "idle")

    def connection_lost(self, exc: Exception | None) -> None:
        """Make room for others, and tell the request that waits for its caller."""
        self.among.leave(self)
        self.among.bursts.call(partial(super().connection_lost, exc))

    def data_received(self, data: bytes) -> None:
        """Parse what has come, and count headers that are not complete."""
        if self.refused:
            return
        self._is_body = False
        super().data_received(data)
        if self.reading is not None and not self._is_body:
            self._header_bytes += len(data)
            if self._header_bytes > MOST_HEADERS:
                self.refuse(_too_many_headers())
        self._place()

    def on_message_begin(self) -> None:
        """The first bytes of a request."""
        self.reading, self._header_bytes = "headers", 0
        self.requests += 1
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """What follows is the body."""
        self.reading, self._header_bytes = "body", 0
        super().on_headers_complete()

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header. Those that follow a body are not kept: nobody reads them."""
        if self.reading == "headers":
            super().on_header(name, value)

    def on_body(self, body: bytes) -> None:
        """Some of the body."""
        self._is_body, self._header_bytes = True, 0
        super().on_body(body)
        if self._arriving is not None and len(self.cycle.body) > HIGH_WATER_LIMIT:
            self._begin(*self._arriving)

    def on_message_complete(self) -> None:
        """The whole request is there."""
        self.reading = None
        super().on_message_complete()
        if self._arriving is not None:
            self._begin(*self._arriving)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        """Work on a request once its body is there, or begins to be large, or its client waits to be asked for it."""
        if cycle.more_body and not cycle.waiting_for_100_continue and len(cycle.body) <= HIGH_WATER_LIMIT:
            self._arriving = cycle, app
        else:
            self._begin(cycle, app)

    def _begin(self, cycle: RequestResponseCycle, app: Any) -> None:
        """Begin to work on a request: probes at once, others in their turn."""
        self._arriving = None
        if cycle.scope["path"] in ALWAYS_OPEN:
            super()._start_asgi_task(cycle, app)
        else:
            self.among.bursts.call(partial(super()._start_asgi_task, cycle, app))

    def on_response_complete(self) -> None:
        """The response was sent."""
        super().on_response_complete()
        self._place()

    def resume_writing(self) -> None:
        """The client has taken some of the response."""
        self._waited = 0.0
        super().resume_writing()

    def tick(self) -> None:
        """Count the time that the client is waited for. Only time in which the server reads counts."""
        owed, limit = self._owes()
        if owed != self._owed:
            self._owed, self._waited = owed, 0.0
            return
        if self.flow is None or not self.flow.read_paused:
            self._waited += TICK_S
        if not owed or self._waited < limit:
            return
        if owed[0] == "headers":
            self.refuse(_too_slow(limit))
        elif owed[0] == "body":
            self.refuse(too_slow(len(self.cycle.body), limit))
        elif owed[0] == "request":
            self.transport.close()
        else:
            self.transport.abort()

    def refuse(self, problem: ProblemError) -> None:
        """Close the connection, with the problem as its response where HTTP allows one."""
        may_respond = self._may_respond() and self.among.lingering < LINGERING
        self.among.leave(self)
        self.among.refused[problem.status] += 1
        self.refused = True
        self._unset_keepalive_if_required()
        if not may_respond:
            self.transport.abort()
            return
        if self._is_answering():
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self.transport.write(_as_bytes(problem))
        self.among.lingering += 1
        self.loop.call_later(LINGER_S, self._end)

    def _end(self) -> None:
        self.among.lingering -= 1
        self.transport.abort()

    def _place(self) -> None:
        if self.reading == "body":
            owes = "receiving"
        elif self._is_answering():
            owes = None
        else:
            owes = "idle"
        for room in self.rooms:
            room.place(self, owes)

    def _owes(self) -> tuple[tuple[Any, ...], float]:
        """What the client owes, which changes when it is another, and how many seconds it may take."""
        among = self.among
        if self.transport.is_closing():
            return ("end",), among.header_s
        if self.flow.write_paused:
            return ("reading", self.requests), among.body_s
        if self._arriving is not None:
            return ("body", self.requests), among.body_s
        if self._is_answering():
            return (), 0
        if self.reading == "headers":
            return ("headers", self.requests), among.header_s
        if self.reading == "body":  # of a request that has its response
            return ("rest", self.requests), among.header_s
        return ("request", self.requests), among.keep_alive_s if self.requests else among.header_s

    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _may_respond(self) -> bool:
        if self.reading == "headers":
            return not self._is_answering()
        if self.reading == "body":
            return not self.cycle.response_started
        return self.requests == 0


def _within_open_files(connections: int) -> int:
    """As many connections as the system's limit on open files allows, which is raised for them as far as it may be."""
    try:
        import resource
    except ImportError:  # not a POSIX system
        return connections
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    endless = resource.RLIM_INFINITY
    needed = connections + OWN_FILES
    if soft != endless and soft < needed:
        soft = needed if hard == endless else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        if soft < needed:
            logger.warning("%d files may be open, so at most %d connections are served", soft, soft - OWN_FILES)
    return connections if soft == endless else max(1, min(connections, soft - OWN_FILES))


def _address(transport: asyncio.Transport, name: str) -> tuple[str, int] | None:
    """A host and its port."""
    known = transport.get_extra_info(name)
    return (known[0], known[1]) if isinstance(known, tuple) else None


def _peer(client: tuple[str, int] | None) -> str:
    """The address that connections are counted by; of an IPv6 address its /64 network."""
    host = client[0] if client else ""
    if ":" not in host:
        return host
    address = ipaddress.IPv6Address(host.partition("%")[0])
    return str(address.ipv4_mapped or ipaddress.IPv6Network((int(address) >> 64 << 64, 64)))


def _too_many(most: int) -> Overloaded:
    return Overloaded(
        "There are too many connections.",
        value=f"more than {most}",
        limit=most,
        remedy="Use one client for many requests, or raise MEMR_MAX_CONNECTIONS, MEMR_MAX_PEER_CONNECTIONS and the "
        "system's limit on open files.",
        retry_after=1,
    )


def _too_many_headers() -> TooLarge:
    return TooLarge(
        "The headers have too many bytes.",
        value=f"more than {MOST_HEADERS}",
        limit=MOST_HEADERS,
        remedy="Send fewer or shorter headers.",
    )


def _too_slow(seconds: float) -> TooSlow:
    return TooSlow(
        "The headers did not arrive in time.",
        limit=f"{seconds:g} s",
        remedy="Use a faster connection, or raise MEMR_HEADER_S on the server.",
    )


def _as_bytes(problem: ProblemError) -> bytes:
    """The whole response of a connection that ends with it."""
    response = problem_response(problem, secrets.token_hex(8))
    fields = {name.lower(): value for name, value in response.raw_headers} | {b"connection": b"close"}
    lines = b"".join(b"%s: %s\r\n" % field for field in fields.items())
    return STATUS_LINE[response.status_code] + lines + b"\r\n" + bytes(response.body)
