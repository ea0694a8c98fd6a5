"""Snapshots in Redis: each in pieces of a megabyte, none of which holds the server up for long.

They save time: what they hold follows from the journal. Only the one where a bounded journal begins stands for records
that are gone.
"""

from __future__ import annotations

import io
import logging
import tempfile
from typing import Any

from memr_service.store import arrays
from memr_service.store.base import Snapshot
from memr_service.store.redis.server import Server, translated

logger = logging.getLogger(__name__)

KEPT = 2
PIECE_BYTES = 1 << 20
SAVING_S = 120
"""After this time whoever keeps a snapshot is taken for dead."""


class Snapshots:
    """The snapshots of all runs on a server. Safe to call from several threads."""

    def __init__(self, server: Server) -> None:
        self._server = server

    def save(self, uid: int, snapshot: Snapshot) -> None:
        """Keep a snapshot, the one before it, and the one where the journal begins; it counts once it is whole.

        Does nothing while another process keeps one of this run: a second would save nobody time.
        """
        name, claim = f"{snapshot.branch}-{snapshot.position}", self._server.key(uid, "saving")
        client, listed, pieces = self._server.client, self._server.key(uid, "snapshots"), 0
        with translated(self._server.where):
            if not client.set(claim, name, nx=True, ex=SAVING_S):
                return
        with tempfile.TemporaryFile() as file, translated(self._server.where):
            arrays.write(file, snapshot.arrays)
            file.seek(0)
            while piece := file.read(PIECE_BYTES):
                client.set(self._piece(uid, name, pieces), piece)
                pieces += 1
            client.hset(listed, name, pieces)
            client.delete(claim)
            base = client.hget(self._server.key(uid, "run"), "base")
            if base is None:  # the run was deleted meanwhile
                self.delete(uid)
        for branch, position in self.kept(uid)[KEPT:]:
            if position == 0 or position != int(base or 0):
                self._discard(uid, f"{branch}-{position}")

    def kept(self, uid: int) -> list[tuple[int, int]]:
        """(branch, position) of a run's snapshots, newest first."""
        pairs = (name.split("-") for name in self._listed(uid))
        return sorted(((int(branch), int(position)) for branch, position in pairs), reverse=True)

    def load(self, uid: int, branch: int, position: int) -> Snapshot | None:
        """A snapshot, or None when it is damaged or gone."""
        name, file = f"{branch}-{position}", io.BytesIO()
        with translated(self._server.where):
            for piece in range(self._listed(uid).get(name, 0)):
                found: Any = self._server.client.get(self._piece(uid, name, piece))
                file.write(found or b"")
        try:
            return Snapshot(branch, position, arrays.read(file))
        except ValueError as error:
            logger.warning("snapshot %s of run %d is damaged and will not be used: %s", name, uid, error)
            return None

    def size(self, uid: int) -> int:
        """Bytes of a run's snapshots, about."""
        return PIECE_BYTES * sum(self._listed(uid).values())

    def delete(self, uid: int) -> None:
        """Remove all of a run's."""
        for name in self._listed(uid):
            self._discard(uid, name)

    def _listed(self, uid: int) -> dict[str, int]:
        """Name -> number of pieces."""
        with translated(self._server.where):
            listed: Any = self._server.client.hgetall(self._server.key(uid, "snapshots"))
        return {name.decode(): int(pieces) for name, pieces in listed.items()}

    def _discard(self, uid: int, name: str) -> None:
        pieces = self._listed(uid).get(name, 0)
        with translated(self._server.where):
            self._server.client.hdel(self._server.key(uid, "snapshots"), name)
            for piece in range(pieces):
                self._server.client.unlink(self._piece(uid, name, piece))

    def _piece(self, uid: int, name: str, number: int) -> str:
        return self._server.key(uid, f"snapshot:{name}:{number}")
