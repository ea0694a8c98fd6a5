"""Snapshots in Redis.

They save time: what they hold follows from the journal. Only the one where a bounded journal begins replaces records
that were dropped.
"""

from __future__ import annotations

import io
import logging
import tempfile

from memr_service.store import arrays
from memr_service.store.base import Snapshot
from memr_service.store.redis.blobs import Blobs
from memr_service.store.redis.server import Server, translated

logger = logging.getLogger("memr.store")

KEPT = 2
SAVING_S = 120
"""A process that has been writing a snapshot for longer than this is assumed to be dead."""


class RedisSnapshots:
    """The snapshots of all runs on a server. Methods may be called from any thread."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._blobs = Blobs(server, "snapshot")

    def save(self, uid: int, snapshot: Snapshot) -> None:
        """Keep a snapshot, the one before it, and the one where the journal begins; it counts once it is whole.

        Do nothing while another process writes one of this run: a second would save nobody time.
        """
        name, claim = f"{snapshot.branch}-{snapshot.position}", self._server.key(uid, "saving")
        with translated(self._server.where):
            if not self._server.client.set(claim, name, nx=True, ex=SAVING_S):
                return
        with tempfile.TemporaryFile() as file:
            arrays.write(file, snapshot.arrays)
            self._blobs.put(uid, {name: file})
        with translated(self._server.where):
            self._server.client.delete(claim)
            base = self._server.client.hget(self._server.key(uid, "run"), "base")
        for branch, position in self.kept(uid)[KEPT:]:
            if position == 0 or position != int(base or 0):
                self._blobs.discard(uid, f"{branch}-{position}")

    def kept(self, uid: int) -> list[tuple[int, int]]:
        """(branch, position) of the snapshots kept, newest first."""
        pairs = (name.split("-") for name in self._blobs.names(uid))
        return sorted(((int(branch), int(position)) for branch, position in pairs), reverse=True)

    def load(self, uid: int, branch: int, position: int) -> Snapshot | None:
        """A snapshot, or None if it is damaged or gone."""
        name, file = f"{branch}-{position}", io.BytesIO()
        self._blobs.get(uid, name, file)
        try:
            return Snapshot(branch, position, arrays.read(file))
        except ValueError as error:
            logger.warning("snapshot %s of run %d is damaged and will not be used: %s", name, uid, error)
            return None

    def size(self, uid: int) -> int:
        """Bytes of a run's snapshots, about."""
        return self._blobs.size(uid)

    def delete(self, uid: int) -> None:
        """Remove all snapshots of a run."""
        self._blobs.delete(uid)
