"""`Acceptor`: takes new connections, and begins first with those whose request is there.

An event loop takes connections in the order in which they came, and begins with each at once, which costs a tenth of a
millisecond. So a probe would wait behind all peers that open a thousand connections and send half a request on each.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections import deque
from collections.abc import Callable, Sequence

logger = logging.getLogger("memr.app")

TAKEN = 32
"""Connections taken from a listening socket in one iteration of the event loop: less than half a millisecond."""
BEGUN = 4
"""Connections begun in one iteration: less than half a millisecond, for a request needs several iterations."""
LOOKED_AT = 1024
"""Bytes of a connection that are looked at."""
PAUSE_S = 1.0
"""Seconds for which no connection is taken when the system has no room for one."""


class Acceptor:
    """Takes connections from listening sockets of one event loop. Close it at the end.

    Args:
        protocol: makes the protocol of a new connection.
        room: how many connections there is room for besides those that wait here. Others stay in the system's queue.
    """

    def __init__(
        self, sockets: Sequence[socket.socket], protocol: Callable[[], asyncio.BaseProtocol], room: Callable[[], int]
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._sockets = sockets
        self._protocol = protocol
        self._room = room
        self._waiting: tuple[deque[socket.socket], ...] = (deque(), deque(), deque())
        """Those with a whole request, with nothing yet, and with a part of a request."""
        self._beginning: set[asyncio.Task[object]] = set()
        self._is_called = False
        for one in sockets:
            one.setblocking(False)
            self._loop.add_reader(one, self._take, one)

    async def close(self) -> None:
        """Take no more connections, close those that wait, and finish beginning with the others."""
        for one in self._sockets:
            self._loop.remove_reader(one)
        for waiting in self._waiting:
            while waiting:
                waiting.popleft().close()
        await asyncio.gather(*self._beginning)

    def _take(self, listening: socket.socket) -> None:
        """Take connections from a socket, and begin with some."""
        for _ in range(min(TAKEN, self._room() - sum(map(len, self._waiting)))):
            try:
                made, _ = listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                break
            except OSError as error:
                logger.warning("no connection can be taken for %g s: %s", PAUSE_S, error)
                self._loop.remove_reader(listening)
                self._loop.call_later(PAUSE_S, self._take_again, listening)
                break
            made.setblocking(False)
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._waiting[_kind(made)].append(made)
        if not self._is_called:
            self._begin()

    def _take_again(self, listening: socket.socket) -> None:
        if listening.fileno() >= 0:  # otherwise the server has ended
            self._loop.add_reader(listening, self._take, listening)

    def _begin(self) -> None:
        """Begin with the next connections; with the others in the next iterations."""
        left = BEGUN
        for waiting in self._waiting:
            while waiting and left:
                left -= 1
                beginning = self._loop.create_task(self._connect(waiting.popleft()))
                self._beginning.add(beginning)
                beginning.add_done_callback(self._beginning.discard)
        self._is_called = any(self._waiting)
        if self._is_called:
            self._loop.call_soon(self._begin)

    async def _connect(self, made: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(self._protocol, made)
        except OSError:  # the peer has left
            made.close()


def _kind(made: socket.socket) -> int:
    """Which of those that wait a connection belongs to."""
    try:
        begun = made.recv(LOOKED_AT, socket.MSG_PEEK)
    except OSError:
        return 1
    return 0 if not begun or begun.endswith(b"\r\n\r\n") else 2
