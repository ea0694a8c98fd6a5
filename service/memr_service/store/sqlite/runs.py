"""Runs by name: made, found and removed with everything they have."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import replace

from memr_client.errors import Conflict, ProblemError, StoreFull, Unavailable

from memr_service.store.base import NewResponse, Snapshot, StoredRecord, StoredRun
from memr_service.store.sqlite.database import Database
from memr_service.store.sqlite.index_files import SqliteIndexFiles
from memr_service.store.sqlite.journal import SqliteJournal
from memr_service.store.sqlite.reserve import Reserve
from memr_service.store.sqlite.snapshots import SqliteSnapshots

logger = logging.getLogger("memr.store")

RUN = "SELECT uid, run_id, config, law, encoder, created_at, base FROM runs"
UNNAMED = "/"
"""How the name of a run begins that is not whole. No run can be asked for by such a name."""
NAMED = f"WHERE run_id NOT GLOB '{UNNAMED}*'"
PART_BYTES = 1 << 20
"""Bytes of records that are written at a time when a run is restored."""


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
            self._require_free(run_id)
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
    ) -> Generator[StoredRun | None, None, None]:
        """Make a run with all its records durable, by parts (see `Runs.restore`)."""
        if base is not None and self._snapshots is None:
            raise Unavailable(
                "A store in memory cannot take a run whose journal was bounded.", remedy="Import it into a directory."
            )
        with self._database.transaction():
            self._require_free(run_id)
            unnamed = UNNAMED + secrets.token_hex(16)
            run = self._insert(unnamed, config, law, encoder, created_at, 0 if base is None else base.position)
        try:
            if base is not None and self._snapshots is not None:
                self._snapshots.save(run.uid, base)
                self._snapshots.rebase(run.uid, base.position)
            left = iter(records)
            while self._append_some(run.uid, left):
                yield None
            with self._database.transaction():
                self._require_free(run_id)
                self._database.write("UPDATE runs SET run_id = ? WHERE uid = ?", run_id, run.uid)
        except BaseException:
            self.delete(run.uid)
            raise
        yield replace(run, run_id=run_id)

    def _append_some(self, uid: int, records: Iterator[tuple[StoredRecord, Sequence[NewResponse]]]) -> bool:
        """Append records until they have `PART_BYTES`. Returns whether there may be more."""
        size = 0
        with self._database.transaction():
            for record, responses in records:
                self._journal.append(uid, record, responses)
                size += len(record.payload)
                if size >= PART_BYTES:
                    return True
        return False

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
        return [StoredRun(*row) for row in self._database.rows(f"{RUN} {NAMED} ORDER BY run_id")]

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
                while self.reclaim():
                    pass

    def reclaim(self) -> bool:
        """Give some disk space of deleted runs back (see `Runs.reclaim`)."""
        try:
            return self._database.reclaim()
        except ProblemError as error:
            logger.warning("disk space of deleted runs is not free yet: %s", error.in_one_line)
            return False

    def _remove(self, uid: int) -> None:
        with self._database.transaction():
            self._database.write("DELETE FROM runs WHERE uid = ?", uid)
        if self._snapshots is not None:
            self._snapshots.delete(uid)
        if self._index_files is not None:
            self._index_files.delete(uid)

    def _require_free(self, run_id: str) -> None:
        if self.find(run_id) is not None:
            raise Conflict(f"there is a run {run_id!r} already.", value=run_id, remedy="Choose another name.")

    def _insert(
        self, run_id: str, config: str, law: int, encoder: str | None, created_at: str, base: int = 0
    ) -> StoredRun:
        cursor = self._database.write(
            "INSERT INTO runs (run_id, config, law, encoder, created_at, base) VALUES (?, ?, ?, ?, ?, ?)",
            *(run_id, config, law, encoder, created_at, base),
        )
        uid = int(cursor.lastrowid or 0)
        self._database.write("INSERT INTO branches VALUES (?, 0, NULL, ?)", uid, base)
        return StoredRun(uid, run_id, config, law, encoder, created_at, base)


def sweep(database: Database) -> None:
    """Remove what a crash left of runs that were not whole, as a part of the caller's transaction."""
    database.write(f"DELETE FROM runs WHERE run_id GLOB '{UNNAMED}*'")


def bases(database: Database) -> dict[int, int]:
    """uid -> the position where the journal begins, of all runs."""
    return dict(database.rows("SELECT uid, base FROM runs"))
