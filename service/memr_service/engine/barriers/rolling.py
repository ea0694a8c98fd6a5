"""The rolling barrier, `snapshot` on the wire: every request gets its response at once, and a group is written when it
is complete or has timed out."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable

from memr_client.errors import ProblemError

from memr_service.engine.barriers.base import Respond, Waiting, items_of
from memr_service.engine.barriers.member import Member
from memr_service.engine.barriers.room import WaitingRoom
from memr_service.state.record import Record

Expire = Callable[[list[bytes]], Awaitable[None]]
"""Writes groups that have timed out with the items that they have."""


class RollingBarrier(Waiting):
    """Scores each request by itself, and closes groups that are still open after the time-out."""

    def __init__(
        self, respond: Respond, timeout_s: float, room: WaitingRoom, expire: Expire, still_open: Iterable[bytes]
    ) -> None:
        super().__init__(respond, timeout_s, room)
        self._expire = expire
        self._open: dict[bytes, asyncio.TimerHandle] = {}
        for name in still_open:
            self._begin(name)

    def _take_in(self, member: Member) -> Member:
        """Respond without waiting for other requests."""
        self._complete([member], items_of(member))
        return member

    def committed(self, record: Record) -> None:
        """Start the timers of groups that a record left open, and stop those of groups that it closed."""
        effects, batch = record.effects, record.batch
        for name in effects.closes:
            if (timer := self._open.pop(name, None)) is not None:
                self._stop(timer)
        left = [] if effects.left_open is None else effects.left_open.tolist()
        for name in {batch.group_names[batch.group[item]] for item in left} - self._open.keys():
            self._begin(name)

    def drop(self, error: ProblemError) -> None:
        """Stop all timers."""
        super().drop(error)
        self._open.clear()

    def _begin(self, name: bytes) -> None:
        self._open[name] = self._after_timeout(lambda: self._give_up(name))

    def _give_up(self, name: bytes) -> None:
        del self._open[name]
        self.timeouts += 1
        self._start(self._expire_one(name))

    async def _expire_one(self, name: bytes) -> None:
        try:
            await self._expire([name])
        except ProblemError:
            self._begin(name)  # nothing is durable yet: try again after another time-out
