"""Runs by name: made, found and removed with everything they have."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from contextlib import ExitStack

from memr_client.errors import Conflict, ProblemError, StoreFull, Unavailable

from memr_service.store.base import NewResponse, Snapshot, StoredRecord, StoredRun
from memr_service.store.sqlite.database import Database
from memr_service.store.sqlite.index_files import SqliteIndexFiles
from memr_service.store.sqlite.journal import SqliteJournal
from memr_service.store.sqlite.reserve import Reserve
from memr_service.store.sqlite.snapshots import SqliteSnapshots

logger = logging.getLogger("memr.store")

RUN = "SELECT uid, run_id, config, law, encoder, created_at, base FROM runs"


class SqliteRuns:
    """The runs in `database`. `snapshots`, `index_files` and `reserve` are None in memory."""

    def __init__(
        self,
        database: Database,
        journal: SqliteJournal,
        snapshots: SqliteSnapshots | None,
        index_files: SqliteIndexFiles | None,
        reserve: Reserve | None,
    ) -> None:
        self._database = database
        self._journal = journal
        self._snapshots = snapshots
        self._index_files = index_files
        self._reserve = reserve

    def create(self, run_id: str, config: str, law: int, encoder: str | None, created_at: str) -> StoredRun:
        """Make a run and its first branch durable. `Conflict` if the name is taken."""
        with self._database.transaction():
            return self._insert(run_id, config, law, encoder, created_at)

    def restore(
        self,
        run_id: str,
        config: str,
        law: int,
        encoder: str | None,
        created_at: str,
        records: Iterable[tuple[StoredRecord, Sequence[NewResponse]]],
        base: Snapshot | None = None,
    ) -> StoredRun:
        """Make a run with all its records and their responses durable, all or nothing (see `Runs.restore`)."""
        if base is not None and self._snapshots is None:
            raise Unavailable(
                "A store in memory cannot take a run whose journal was bounded.", remedy="Import it into a directory."
            )
        with ExitStack() as undo:
            with self._database.transaction():
                run = self._insert(run_id, config, law, encoder, created_at, 0 if base is None else base.position)
                for record, responses in records:
                    self._journal.append(run.uid, record, responses)
                if base is not None and self._snapshots is not None:
                    undo.callback(self._snapshots.discard, run.uid)
                    self._snapshots.save(run.uid, base)
                    self._snapshots.rebase(run.uid, base.position)
            undo.pop_all()
        return run

    def replace(self, uid: int, config: str, encoder: str | None) -> None:
        """Give a run another config. `Conflict` once it has a record."""
        with self._database.transaction():
            if self._database.rows("SELECT 1 FROM log WHERE uid = ? LIMIT 1", uid):
                raise Conflict("the run's first record has frozen its config.", remedy="Create another run.")
            self._database.write("UPDATE runs SET config = ?, encoder = ? WHERE uid = ?", config, encoder, uid)

    def find(self, run_id: str) -> StoredRun | None:
        """The run of that name."""
        rows = self._database.rows(f"{RUN} WHERE run_id = ?", run_id)
        return StoredRun(*rows[0]) if rows else None

    def all(self) -> list[StoredRun]:
        """All runs, by name."""
        return [StoredRun(*row) for row in self._database.rows(f"{RUN} ORDER BY run_id")]

    def delete(self, uid: int) -> None:
        """Remove a run with its branches, records, responses and checkpoints (they cascade), and its files.

        On a full disk the reserve makes the room that this needs.
        """
        try:
            self._remove(uid)
        except StoreFull:
            if self._reserve is None:
                raise
            with self._reserve.used():
                self._remove(uid)

    def _remove(self, uid: int) -> None:
        with self._database.transaction():
            self._database.write("DELETE FROM runs WHERE uid = ?", uid)
        if self._snapshots is not None:
            self._snapshots.delete(uid)
        if self._index_files is not None:
            self._index_files.delete(uid)
        try:
            self._database.reclaim()
        except ProblemError as error:
            logger.warning("run %d is deleted, but its disk space is not free yet: %s", uid, error)

    def _insert(
        self, run_id: str, config: str, law: int, encoder: str | None, created_at: str, base: int = 0
    ) -> StoredRun:
        if self.find(run_id) is not None:
            raise Conflict(f"there is a run {run_id!r} already.", value=run_id, remedy="Choose another name.")
        cursor = self._database.write(
            "INSERT INTO runs (run_id, config, law, encoder, created_at, base) VALUES (?, ?, ?, ?, ?, ?)",
            *(run_id, config, law, encoder, created_at, base),
        )
        uid = int(cursor.lastrowid or 0)
        self._database.write("INSERT INTO branches VALUES (?, 0, NULL, ?)", uid, base)
        return StoredRun(uid, run_id, config, law, encoder, created_at, base)


def bases(database: Database) -> dict[int, int]:
    """uid -> the position where the journal begins, of all runs."""
    return dict(database.rows("SELECT uid, base FROM runs"))
