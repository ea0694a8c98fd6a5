"""What the requests that wait at all barriers hold in memory: counted in bytes, and limited."""

from __future__ import annotations

from collections.abc import Callable

from memr_client.errors import Overloaded, ProblemError

from memr_service.engine.barriers.member import Member

Refuse = Callable[[Member, ProblemError], None]
"""Takes a request out of its barrier and lets it fail."""


class WaitingRoom:
    """The requests that wait, the oldest first."""

    def __init__(self, most_bytes: int) -> None:
        self.bytes = 0
        """What they hold now."""
        self._most_bytes = most_bytes
        self._waiting: dict[Member, Refuse] = {}

    def enter(self, member: Member, refuse: Refuse) -> None:
        """Count a request that begins to wait."""
        self._waiting[member] = refuse
        self.bytes += member.size

    def leave(self, member: Member) -> None:
        """Count a request no longer. Nothing happens if it does not wait."""
        if self._waiting.pop(member, None) is not None:
            self.bytes -= member.size

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
