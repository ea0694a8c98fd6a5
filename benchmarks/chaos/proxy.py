"""A faulty network between services and Redis: connections break, responses get lost, everything is late."""

from __future__ import annotations

import asyncio
import random
import threading
from collections import Counter
from contextlib import suppress
from typing import Literal

Fault = Literal["cut", "lost", "late"]
"""cut: the connection breaks before the request arrives. lost: the request arrives, but its response does not. late:
everything arrives with a delay."""

SHARES: dict[Fault, float] = {"cut": 0.004, "lost": 0.002, "late": 0.02}
"""Share of the passing chunks that meet a fault."""
LATE_S = 0.3
PIECE = 1 << 16


class Proxy:
    """Forwards connections to a port of this machine, in its own thread. `met` counts the faults.

    A lost response leaves its connection open, as in a real network, so the waiting side needs a time-out.
    """

    def __init__(self, port: int, seed: int) -> None:
        self.met: Counter[Fault] = Counter()
        self.failing = False
        """Whether faults happen now."""
        self._target = port
        self._random = random.Random(seed)
        self._connections: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._closing = asyncio.Event()
        ready = threading.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=[self._live(ready)], name="proxy")
        self._thread.start()
        ready.wait()

    def close(self) -> None:
        """Break all connections and stop."""
        self._loop.call_soon_threadsafe(self._closing.set)
        self._thread.join()
        self._loop.close()

    async def _live(self, ready: threading.Event) -> None:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = int(server.sockets[0].getsockname()[1])
        ready.set()
        await self._closing.wait()
        server.close()
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = asyncio.ensure_future(self._pass_on(reader, writer))
        self._connections.add(connection)
        connection.add_done_callback(self._connections.discard)

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ends: list[asyncio.Future[None]] = []
        opened = [writer]
        try:
            to_read, to_write = await asyncio.open_connection("127.0.0.1", self._target)
            opened.append(to_write)
            both = [self._carry(reader, to_write, "cut"), self._carry(to_read, writer, "lost")]
            ends = [asyncio.ensure_future(one) for one in both]
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        except OSError:
            pass  # nobody there: the caller finds its connection closed
        finally:
            for end in ends:
                end.cancel()
            await asyncio.gather(*ends, return_exceptions=True)
            for one in opened:
                one.transport.abort()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, fault: Fault) -> None:
        """Forward one direction of a connection until it ends or meets its fault."""
        lost = False
        with suppress(OSError):
            while piece := await reader.read(PIECE):
                if self._meets("late"):
                    await asyncio.sleep(self._random.uniform(0, LATE_S))
                if self._meets(fault):
                    if fault == "cut":
                        return
                    lost = True
                if not lost:
                    writer.write(piece)
                    await writer.drain()

    def _meets(self, fault: Fault) -> bool:
        if not self.failing or self._random.random() > SHARES[fault]:
            return False
        self.met[fault] += 1
        return True
