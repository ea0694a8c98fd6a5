"""Names for positions of runs."""

from __future__ import annotations

from memr_service.store.base import StoredCheckpoint
from memr_service.store.sqlite.database import Database


class SqliteCheckpoints:
    """The checkpoints of all runs in `database`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def set(self, uid: int, checkpoint: StoredCheckpoint) -> None:
        """Name a position; a name that exists moves."""
        with self._database.transaction():
            self._database.write("DELETE FROM checkpoints WHERE uid = ? AND name = ?", uid, checkpoint.name)
            columns = (checkpoint.name, checkpoint.branch, checkpoint.position, checkpoint.step, checkpoint.created_at)
            self._database.write(
                "INSERT INTO checkpoints (uid, name, branch, position, step, created_at) VALUES (?, ?, ?, ?, ?, ?)",
                *(uid, *columns),
            )

    def all(self, uid: int) -> list[StoredCheckpoint]:
        """All checkpoints of a run, the oldest first."""
        columns = "name, branch, position, step, created_at"
        query = f"SELECT {columns} FROM checkpoints WHERE uid = ? ORDER BY rowid"
        return [StoredCheckpoint(*row) for row in self._database.rows(query, uid)]

    def delete(self, uid: int, name: str) -> bool:
        """Remove a checkpoint, or return False if there is none of that name. The history it named stays."""
        with self._database.transaction():
            deleted = self._database.write("DELETE FROM checkpoints WHERE uid = ? AND name = ?", uid, name)
        return deleted.rowcount > 0
