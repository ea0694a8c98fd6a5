"""Names for positions of runs."""

from __future__ import annotations

from typing import Any

import msgpack

from memr_service.store.base import StoredCheckpoint
from memr_service.store.redis.server import Server, translated


class RedisCheckpoints:
    """The checkpoints of all runs on a server."""

    def __init__(self, server: Server) -> None:
        self._server = server

    def set(self, uid: int, checkpoint: StoredCheckpoint) -> None:
        """Name a position; a name that exists moves."""
        fields = [checkpoint.branch, checkpoint.position, checkpoint.step, checkpoint.created_at]
        with translated(self._server.where):
            order = self._server.client.hincrby(self._server.key(uid, "run"), "checkpoints", 1)
            packed = msgpack.packb([order, *fields])
            self._server.client.hset(self._server.key(uid, "checkpoints"), checkpoint.name, packed)
        self._server.confirm(uid)

    def all(self, uid: int) -> list[StoredCheckpoint]:
        """All checkpoints of a run, the oldest first."""
        with translated(self._server.where):
            listed: Any = self._server.client.hgetall(self._server.key(uid, "checkpoints"))
        ordered = sorted((msgpack.unpackb(packed), name.decode()) for name, packed in listed.items())
        return [StoredCheckpoint(name, *fields) for (_, *fields), name in ordered]

    def delete(self, uid: int, name: str) -> bool:
        """Remove a checkpoint, or return False if there is none of that name. The history it named stays."""
        with translated(self._server.where):
            return bool(self._server.client.hdel(self._server.key(uid, "checkpoints"), name))
