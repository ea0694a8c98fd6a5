"""What the requests that wait at all barriers hold in memory: counted in bytes, and limited."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from memr_client.errors import Overloaded, ProblemError

from memr_service.engine.barriers.member import Member

LINGER_S = 10.0
"""Seconds for which a request with an id keeps its place after its caller has left: so long its retry may take."""
LINGERING_SHARE = 8
"""Such requests may hold an eighth of the limit."""

Refuse = Callable[[Member, ProblemError], None]
"""Takes a request out of its barrier and lets it fail."""
GiveUp = Callable[[Member], None]
"""Takes a request whose caller has left out of its barrier."""


class WaitingRoom:
    """The requests that wait, the oldest first."""

    def __init__(self, most_bytes: int) -> None:
        self.bytes = 0
        """What they hold now."""
        self._most_bytes = most_bytes
        self._waiting: dict[Member, Refuse] = {}
        self._lingering: dict[Member, tuple[GiveUp, asyncio.TimerHandle]] = {}

    def enter(self, member: Member, refuse: Refuse) -> None:
        """Count a request that begins to wait."""
        self._waiting[member] = refuse
        self.bytes += member.size

    def leave(self, member: Member) -> None:
        """Count a request no longer. Nothing happens if it does not wait."""
        self.stay(member)
        if self._waiting.pop(member, None) is not None:
            self.bytes -= member.size

    def linger(self, member: Member, give_up: GiveUp) -> None:
        """Keep a request whose caller has left for a while, if there is room."""
        self._lingering[member] = give_up, asyncio.get_running_loop().call_later(LINGER_S, give_up, member)
        while sum(one.size for one in self._lingering) > self._most_bytes // LINGERING_SHARE:
            oldest, (give_up, _) = next(iter(self._lingering.items()))
            give_up(oldest)

    def stay(self, member: Member) -> None:
        """Keep a request whose caller has come again."""
        if member in self._lingering:
            self._lingering.pop(member)[1].cancel()

    def make_room(self) -> None:
        """Refuse the oldest requests until the others are within the limit."""
        while self.bytes > self._most_bytes:
            oldest, refuse = next(iter(self._waiting.items()))
            self.leave(oldest)
            refuse(oldest, _no_room(self._most_bytes))


def _no_room(most_bytes: int) -> Overloaded:
    return Overloaded(
        "The requests that wait at barriers hold too much memory, and this one waited longest; nothing of it was"
        " stored.",
        limit=most_bytes,
        remedy="Send it again with the others of its step or group, or raise MEMR_MAX_WAITING_BYTES on the server.",
        retry_after=1,
    )
