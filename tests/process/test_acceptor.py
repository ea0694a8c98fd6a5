"""Connections are taken at once and begun a few at a time, those first whose request is there."""

from __future__ import annotations

import asyncio
import errno
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from itertools import pairwise

import pytest
import uvloop
from memr_service.app import acceptor
from memr_service.app.acceptor import BEGUN, TAKEN, Acceptor

PART, WHOLE = b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\n{", b"GET /livez HTTP/1.1\r\n\r\n"
AT_ONCE = struct.pack("ii", 1, 0)
"""`SO_LINGER`: a connection that is closed is reset."""


class Full(socket.socket):
    """A listening socket that for once gets no connection, because too many files are open."""

    fails = True

    def accept(self) -> tuple[socket.socket, object]:
        if self.fails:
            self.fails = False
            raise OSError(errno.EMFILE, "Too many open files")
        return super().accept()


class Peers:
    """A listening socket, what its peers have sent, and the connections that were begun."""

    def __init__(self, stack: ExitStack, kind: type[socket.socket] = socket.socket) -> None:
        self._stack = stack
        self.listening = stack.enter_context(kind())
        self.listening.bind(("127.0.0.1", 0))
        self.listening.listen(256)
        self.sent: dict[object, bytes] = {}
        self.begun: list[bytes] = []
        self.turns: list[int] = []

    def connect(self, sent: bytes) -> socket.socket:
        """Connect and send something."""
        peer = self._stack.enter_context(socket.create_connection(self.listening.getsockname()))
        peer.sendall(sent)
        self.sent[peer.getsockname()] = sent
        return peer

    async def accept(self, until: Callable[[], bool], room: int = 1000) -> None:
        """Accept connections until a condition holds, and note how many were begun in each turn of the loop."""
        peers = self

        open_now: list[asyncio.BaseTransport] = []

        class Begun(asyncio.Protocol):
            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                peers.begun.append(peers.sent.get(transport.get_extra_info("peername"), b""))
                open_now.append(transport)

        accepting = Acceptor([self.listening], Begun, lambda: room)
        for _ in range(50_000):
            self.turns.append(len(self.begun))
            if until():
                break
            await asyncio.sleep(0)
        await accepting.close()
        for one in open_now:
            one.close()
        await asyncio.sleep(0.05)


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_a_whole_request_does_not_wait_behind_parts_of_requests(stack: ExitStack, run: Callable[..., object]) -> None:
    peers = Peers(stack)
    for _ in range(2 * TAKEN):
        peers.connect(PART)
    peers.connect(b"")
    peers.connect(WHOLE)
    run(peers.accept(lambda: len(peers.begun) == 2 * TAKEN + 2))
    assert sorted(peers.begun) == sorted([PART] * 2 * TAKEN + [b"", WHOLE])
    assert peers.begun.index(WHOLE) < peers.begun.index(b"") <= 8 * BEGUN
    assert max(after - before for before, after in pairwise(peers.turns)) <= 2 * BEGUN


def test_no_more_are_taken_than_there_is_room_for(stack: ExitStack) -> None:
    peers = Peers(stack)
    for _ in range(8):
        peers.connect(PART)
    uvloop.run(peers.accept(lambda: len(peers.turns) == 20, room=0))
    assert not peers.begun


def test_those_that_wait_at_the_end_are_closed(stack: ExitStack) -> None:
    peers = Peers(stack)
    made = [peers.connect(PART) for _ in range(TAKEN)]
    uvloop.run(peers.accept(lambda: bool(peers.begun)))
    assert len(peers.begun) < TAKEN
    peers.listening.close()
    for one in made:
        one.settimeout(5)
        with suppress(ConnectionResetError):
            assert one.recv(1) == b""


def test_where_no_file_may_be_opened_connections_wait(stack: ExitStack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acceptor, "PAUSE_S", 0.01)
    peers = Peers(stack, Full)
    peers.connect(WHOLE)
    uvloop.run(peers.accept(lambda: bool(peers.begun)))
    assert peers.begun == [WHOLE]


def test_a_peer_that_has_left_harms_nobody(stack: ExitStack) -> None:
    peers = Peers(stack)
    for _ in range(8):
        left = peers.connect(b"")
        left.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, AT_ONCE)
        left.close()
    peers.connect(WHOLE)
    uvloop.run(peers.accept(lambda: WHOLE in peers.begun))
    assert WHOLE in peers.begun
