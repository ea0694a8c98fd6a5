"""Large bodies: how many bytes of them are worked on at once, because each takes several times its size in memory.

`Place` is what one request holds of the room for bodies.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from memr_service.app.arrived_bodies import ArrivedBodies
from memr_service.engine.turns import Turns

LARGE = 4 << 20
"""Bodies of more than this many bytes, unpacked, are large."""
MOST_AT_ONCE = 48 << 20
"""Bytes of large bodies that are worked on at once; one that is larger, alone."""


class LargeBodies:
    """Those that are worked on, and those that wait, which take turns by the address that sent them."""

    def __init__(self, most: int = MOST_AT_ONCE) -> None:
        self._most = most
        self._held = 0
        self._turns: Turns[_Wish] = Turns()
        self._next: _Wish | None = None

    async def enter(self, peer: str, size: int) -> None:
        """Wait until there is room for so many bytes, and hold them."""
        wish = _Wish(size)
        self._turns.add(peer, wish)
        self._admit()
        try:
            await wish.granted
        except asyncio.CancelledError:
            if not wish.granted.cancelled():
                self.leave(size)
            raise

    def leave(self, size: int) -> None:
        """Make room for others."""
        self._held -= size
        self._admit()

    def _admit(self) -> None:
        while (wish := self._next or self._turns.take()) is not None:
            self._next = wish
            if not wish.granted.done():  # otherwise its caller has left
                if self._held and self._held + wish.size > self._most:
                    return
                self._held += wish.size
                wish.granted.set_result(None)
            self._next = None


@dataclass
class _Wish:
    size: int
    granted: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Place:
    """One request's place among the bodies that have arrived, and among the large ones that are worked on."""

    def __init__(self, arrived: ArrivedBodies, among: LargeBodies, peer: str) -> None:
        self._arrived = arrived
        self._among = among
        self._peer = peer
        self._kept = 0
        self._held = 0

    def keep(self, size: int) -> None:
        """Keep so many more bytes of the request's body.

        Raises:
            Overloaded: there is no room for them.
        """
        self._arrived.add(self._kept, size)
        self._kept += size

    async def enter(self, size: int) -> None:
        """Wait until there is room for the request's body of so many bytes; for one that is not large there is."""
        if size > LARGE:
            await self._among.enter(self._peer, size)
            self._held = size

    def leave(self) -> None:
        """Make room for others: the request is done, or waits for other requests. A second call does nothing."""
        kept, self._kept = self._kept, 0
        if kept:
            self._arrived.remove(kept)
        held, self._held = self._held, 0
        if held:
            self._among.leave(held)
