"""Which process holds a run's barrier: of several, one at a time, for as long as it renews its lease.

A lease's time is no promise to its holder: a process that was stopped for a while may believe in it too long. So the
server refuses the commits of all other processes as long as one holds the lease (commit.lua).
"""

from __future__ import annotations

from typing import Any

from memr_service.store.capabilities import LEASE_S
from memr_service.store.redis.server import Server, translated


class RedisLeases:
    """The leases of all runs on a server. Methods may be called from any thread."""

    def __init__(self, server: Server, token: bytes) -> None:
        """`token` (16 bytes) is this process's own."""
        self._server = server
        self._token = token
        self._script = server.script("lease")

    def acquire(self, uid: int, address: str) -> str | None:
        """Hold a run's lease from now on, or renew it; if another process holds it, return that process's address."""
        return self._call(uid, address, round(1000 * LEASE_S))

    def holder(self, uid: int) -> str | None:
        """The address of the process that holds a run's lease; None if it is this one, or none."""
        with translated(self._server.where):
            holder: Any = self._server.client.get(self._server.key(uid, "keeper"))
        return self._other(holder)

    def release(self, uid: int) -> None:
        """End the lease, if this process holds it."""
        self._call(uid, "", 0)

    def _call(self, uid: int, address: str, milliseconds: int) -> str | None:
        with translated(self._server.where):
            return self._other(self._script([self._server.key(uid, "keeper")], [self._token, address, milliseconds]))

    def _other(self, holder: bytes | None) -> str | None:
        if holder is None or holder.startswith(self._token):
            return None
        return holder[len(self._token) :].decode()
