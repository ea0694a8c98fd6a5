"""Files in Redis: each in pieces of a megabyte, none of which holds the server up for long."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, BinaryIO

from memr_service.store.redis.server import Server, translated

PIECE_BYTES = 1 << 20
AT_ONCE = 16
"""Pieces that are asked for together; the server answers others between them."""


class Blobs:
    """Files of a kind, by run and name. Safe to call from several threads."""

    def __init__(self, server: Server, kind: str) -> None:
        self._server = server
        self._kind = kind

    def put(self, uid: int, files: Mapping[str, BinaryIO]) -> None:
        """Keep files; they are found together, once all of each is there. What a deleted run leaves is removed."""
        counts: dict[Any, Any] = {}
        with translated(self._server.where):
            for name, file in files.items():
                file.seek(0)
                counts[name] = 0
                while piece := file.read(PIECE_BYTES):
                    self._server.client.set(self._key(uid, name, counts[name]), piece)
                    counts[name] += 1
            self._server.client.hset(self._listed(uid), mapping=counts)
            deleted = not self._server.client.exists(self._server.key(uid, "run"))
        if deleted:
            self.discard(uid, *self.names(uid))

    def get(self, uid: int, name: str, file: BinaryIO) -> None:
        """Write into a file what is there of that name; nothing where there is nothing."""
        pieces = self.names(uid).get(name, 0)
        with translated(self._server.where):
            for first in range(0, pieces, AT_ONCE):
                pipe = self._server.client.pipeline(transaction=False)
                for piece in range(first, min(first + AT_ONCE, pieces)):
                    pipe.get(self._key(uid, name, piece))
                for found in pipe.execute():
                    file.write(found or b"")

    def names(self, uid: int) -> dict[str, int]:
        """Name -> number of pieces."""
        with translated(self._server.where):
            listed: Any = self._server.client.hgetall(self._listed(uid))
        return {name.decode(): int(pieces) for name, pieces in listed.items()}

    def discard(self, uid: int, *names: str) -> None:
        """Remove some."""
        counts = self.names(uid)
        with translated(self._server.where):
            for name in names:
                self._server.client.hdel(self._listed(uid), name)
                for piece in range(counts.get(name, 0)):
                    self._server.client.unlink(self._key(uid, name, piece))

    def size(self, uid: int) -> int:
        """Their bytes, about."""
        return PIECE_BYTES * sum(self.names(uid).values())

    def _listed(self, uid: int) -> str:
        return self._server.key(uid, f"{self._kind}s")

    def _key(self, uid: int, name: str, number: int) -> str:
        return self._server.key(uid, f"{self._kind}:{name}:{number}")
