"""Who keeps a run's barrier: of several processes one at a time, for as long as it says again that it does.

The time that a keeper has is no promise to it: one that was stopped may believe in it too long. So nobody commits to
a run while another process keeps its barrier (commit.lua).
"""

from __future__ import annotations

from typing import Any

from memr_service.store.base import KEEP_S
from memr_service.store.redis.server import Server, translated


class Leases:
    """What this process keeps, and who else does. Safe to call from several threads."""

    def __init__(self, server: Server, token: bytes) -> None:
        """`token` (16 bytes) tells this process from all others."""
        self._server = server
        self._token = token
        self._script = server.script("keep")

    def keep(self, uid: int, address: str) -> str | None:
        """Keep a run's barrier from now on, or again; where another process does, its address."""
        return self._call(uid, address, round(1000 * KEEP_S))

    def find(self, uid: int) -> str | None:
        """The address of another process that keeps a run's barrier, if one does."""
        with translated(self._server.where):
            keeper: Any = self._server.client.get(self._server.key(uid, "keeper"))
        return self._other(keeper)

    def release(self, uid: int) -> None:
        """Let another process keep it."""
        self._call(uid, "", 0)

    def _call(self, uid: int, address: str, milliseconds: int) -> str | None:
        with translated(self._server.where):
            return self._other(self._script([self._server.key(uid, "keeper")], [self._token, address, milliseconds]))

    def _other(self, keeper: bytes | None) -> str | None:
        if keeper is None or keeper.startswith(self._token):
            return None
        return keeper[len(self._token) :].decode()
