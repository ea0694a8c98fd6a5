"""Snapshots in Redis.

They save time: what they hold follows from the journal. Only the one where a bounded journal begins stands for records
that are gone.
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
"""After this time whoever keeps a snapshot is taken for dead."""


class Snapshots:
    """The snapshots of all runs on a server. Safe to call from several threads."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._pieces = Blobs(server, "snapshot")

    def save(self, uid: int, snapshot: Snapshot) -> None:
        """Keep a snapshot, the one before it, and the one where the journal begins; it counts once it is whole.

        Does nothing while another process keeps one of this run: a second would save nobody time.
        """
        name, claim = f"{snapshot.branch}-{snapshot.position}", self._server.key(uid, "saving")
        with translated(self._server.where):
            if not self._server.client.set(claim, name, nx=True, ex=SAVING_S):
                return
        with tempfile.TemporaryFile() as file:
            arrays.write(file, snapshot.arrays)
            self._pieces.put(uid, {name: file})
        with translated(self._server.where):
            self._server.client.delete(claim)
            base = self._server.client.hget(self._server.key(uid, "run"), "base")
        for branch, position in self.kept(uid)[KEPT:]:
            if position == 0 or position != int(base or 0):
                self._pieces.discard(uid, f"{branch}-{position}")

    def kept(self, uid: int) -> list[tuple[int, int]]:
        """(branch, position) of a run's snapshots, newest first."""
        pairs = (name.split("-") for name in self._pieces.names(uid))
        return sorted(((int(branch), int(position)) for branch, position in pairs), reverse=True)

    def load(self, uid: int, branch: int, position: int) -> Snapshot | None:
        """A snapshot, or None when it is damaged or gone."""
        name, file = f"{branch}-{position}", io.BytesIO()
        self._pieces.get(uid, name, file)
        try:
            return Snapshot(branch, position, arrays.read(file))
        except ValueError as error:
            logger.warning("snapshot %s of run %d is damaged and will not be used: %s", name, uid, error)
            return None

    def size(self, uid: int) -> int:
        """Bytes of a run's snapshots, about."""
        return self._pieces.size(uid)

    def delete(self, uid: int) -> None:
        """Remove all of a run's."""
        self._pieces.discard(uid, *self._pieces.names(uid))
