"""Files in Redis, each in chunks of a megabyte, so that no command holds the server up for long."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, BinaryIO

from memr_service.store.redis.server import Server, translated

CHUNK_BYTES = 1 << 20
CHUNKS_AT_ONCE = 16
"""Chunks that are asked for together; the server answers others between them."""


class Blobs:
    """Files of one kind, by run and name. Methods may be called from any thread."""

    def __init__(self, server: Server, kind: str) -> None:
        self._server = server
        self._kind = kind

    def put(self, uid: int, files: Mapping[str, BinaryIO]) -> None:
        """Keep files. They appear together, once all chunks are there; if the run was deleted, they are removed."""
        counts: dict[Any, Any] = {}
        with translated(self._server.where):
            for name, file in files.items():
                file.seek(0)
                counts[name] = 0
                while chunk := file.read(CHUNK_BYTES):
                    self._server.client.set(self._key(uid, name, counts[name]), chunk)
                    counts[name] += 1
            self._server.client.hset(self._listed(uid), mapping=counts)
            deleted = not self._server.client.exists(self._server.key(uid, "run"))
        if deleted:
            self.discard(uid, *self.names(uid))

    def get(self, uid: int, name: str, file: BinaryIO) -> None:
        """Write the file of that name into `file`; nothing if there is none."""
        chunks = self.names(uid).get(name, 0)
        with translated(self._server.where):
            for first in range(0, chunks, CHUNKS_AT_ONCE):
                pipe = self._server.client.pipeline(transaction=False)
                for chunk in range(first, min(first + CHUNKS_AT_ONCE, chunks)):
                    pipe.get(self._key(uid, name, chunk))
                for found in pipe.execute():
                    file.write(found or b"")

    def names(self, uid: int) -> dict[str, int]:
        """Name -> number of chunks."""
        with translated(self._server.where):
            listed: Any = self._server.client.hgetall(self._listed(uid))
        return {name.decode(): int(chunks) for name, chunks in listed.items()}

    def discard(self, uid: int, *names: str) -> None:
        """Remove files."""
        counts = self.names(uid)
        with translated(self._server.where):
            for name in names:
                self._server.client.hdel(self._listed(uid), name)
                for chunk in range(counts.get(name, 0)):
                    self._server.client.unlink(self._key(uid, name, chunk))

    def delete(self, uid: int) -> None:
        """Remove all files of a run."""
        self.discard(uid, *self.names(uid))

    def size(self, uid: int) -> int:
        """Bytes of a run's files, rounded up to whole chunks."""
        return CHUNK_BYTES * sum(self.names(uid).values())

    def _listed(self, uid: int) -> str:
        return self._server.key(uid, f"{self._kind}s")

    def _key(self, uid: int, name: str, number: int) -> str:
        return self._server.key(uid, f"{self._kind}:{name}:{number}")
