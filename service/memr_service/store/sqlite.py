"""The embedded store: one directory on one machine, or memory.

memr.db      runs, branches, records, answers: SQLite (`database`, `journal`, `answers`)
snapshots/   states, so that a restart need not read the whole journal (`files`)
index/       what the engine keeps of its indices (`files`)
lock, owner  who has the directory (`directory`)
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence, Set
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from memr_client.errors import Conflict, InternalError, ProblemError, StoreFull, Unavailable

from memr_service.store.base import (
    Branch,
    Damage,
    NewResponse,
    Snapshot,
    StoredCheckpoint,
    StoredRecord,
    StoredResponse,
    StoredRun,
    Tip,
)
from memr_service.store.data_directory import DataDirectory
from memr_service.store.database import VERSION, Database
from memr_service.store.journal import Journal
from memr_service.store.responses import Responses
from memr_service.store.state_files import RunFiles

logger = logging.getLogger("memr.store")

RUN = "SELECT uid, run_id, config, law, encoder, created_at, base FROM runs"
COMMITS_PER_PRUNING = 1000


class SqliteStore:
    """A `Store` in `directory`, or in memory (None); `answer_hours` is how long answers to request ids are kept.

    Damaged records are moved aside so that their run can go on, or without `mend` refused, for those who only look.

    It may be made in one thread and used in another, but by one at a time; `save_snapshot` alone may come from any
    thread at any time, for it touches files only.

    Raises:
        StoreFull: no room. Unavailable: the directory is another process's, cannot be written to, or is damaged.
    """

    def __init__(self, directory: Path | None, answer_hours: float = 48, *, mend: bool = True) -> None:
        self.url = "memory:" if directory is None else f"sqlite:///{directory}"
        self.directory = directory
        self.shared = False
        self.conflicts = 0
        self._commits = 0
        with ExitStack() as opened:
            if directory is not None:
                self._owned = opened.enter_context(closing(DataDirectory(directory)))
            file = None if directory is None else directory / "memr.db"
            self._database = opened.enter_context(closing(Database(file)))
            self._journal = Journal(self._database, self._snapshot_beyond if mend else _always)
            self._answers = Responses(self._database, answer_hours)
            with self._transaction():
                self._answers.prune()
            self._files = None if directory is None else RunFiles(directory, {run.uid: run.base for run in self.runs()})
            self._opened = opened.pop_all()

    def create(self, run_id: str, config: str, law: int, encoder: str | None, created_at: str) -> StoredRun:
        """Make a run and its first branch durable. `Conflict` if the name is taken."""
        with self._transaction():
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
        """Make a run with all its records (and the answers they led to) durable, all or nothing."""
        if base is not None and self._files is None:
            raise Unavailable(
                "A store in memory cannot take a run whose journal was bounded.", remedy="Import it into a directory."
            )
        with ExitStack() as undo:
            with self._transaction():
                run = self._insert(run_id, config, law, encoder, created_at, 0 if base is None else base.position)
                for record, answers in records:
                    self._append(run.uid, record, answers)
                if base is not None and self._files is not None:
                    undo.callback(self._files.discard, run.uid)
                    self._files.save(run.uid, base)
            undo.pop_all()
        return run

    def replace(self, uid: int, config: str, encoder: str | None) -> None:
        """Give a run another config. `Conflict` once it has a record."""
        with self._transaction():
            if self._database.rows("SELECT 1 FROM log WHERE uid = ? LIMIT 1", uid):
                raise Conflict("the run's first record has frozen its config.", remedy="Create another run.")
            self._database.write("UPDATE runs SET config = ?, encoder = ? WHERE uid = ?", config, encoder, uid)

    def find(self, run_id: str) -> StoredRun | None:
        """The run of that name."""
        rows = self._database.rows(f"{RUN} WHERE run_id = ?", run_id)
        return StoredRun(*rows[0]) if rows else None

    def runs(self) -> list[StoredRun]:
        """All runs, by name."""
        return [StoredRun(*row) for row in self._database.rows(f"{RUN} ORDER BY run_id")]

    def delete(self, uid: int) -> None:
        """Remove a run with its branches, records, answers and checkpoints (they cascade), and its files."""
        with self._transaction():
            self._database.write("DELETE FROM runs WHERE uid = ?", uid)
        if self._files is not None:
            self._files.delete(uid)
        try:
            self._database.reclaim()
        except ProblemError as error:
            logger.warning("run %d is deleted, but its room is not given back yet: %s", uid, error)

    def commit(self, uid: int, record: StoredRecord, answers: Sequence[NewResponse] = ()) -> None:
        """Make one record, and the answers to its request ids, durable, all or nothing.

        Raises:
            UnknownRun: no such run or branch. InternalError: the record does not follow the last one of its branch,
                or the branch has an answer to that request id (the engine's mistake in both cases).
            StoreFull: no room. Unavailable: any other failure. Nothing was written in any of these.
        """
        with self._transaction():
            self._append(uid, record, answers)
            if (self._commits + 1) % COMMITS_PER_PRUNING == 0:
                self._answers.prune()
        self._commits += 1

    def tidy(self) -> None:
        """Write the database's log into it, if that is due. What keeps it from that is told by the next commit."""
        try:
            self._database.tidy()
        except ProblemError as error:
            logger.warning("the log of %s could not be written into it: %s", self.url, error)

    def tip(self, uid: int) -> Tip | None:
        """None: a data directory has one writer."""
        return None

    def amend_answer(self, uid: int, request_id: str, answer: bytes) -> None:
        """Replace the latest answer to a request id: at once for `answers`, on disk with the next write or `close`."""
        self._answers.amend(uid, request_id, answer)

    def answers(self, uid: int, request_id: str) -> list[StoredResponse]:
        """The answers given to a request id, on any branch, the oldest first."""
        return self._answers.find(uid, request_id)

    def branches(self, uid: int) -> list[Branch]:
        """All branches of a run, the first first; the last is the current one."""
        query = "SELECT branch, parent, start FROM branches WHERE uid = ? ORDER BY branch"
        return [Branch(*row) for row in self._database.rows(query, uid)]

    def add_branch(self, uid: int, parent: int, start: int) -> int:
        """Begin a branch that leaves `parent` after record `start`; its number."""
        with self._transaction():
            if not 0 <= start <= self._journal.last(uid, parent):
                raise InternalError(f"branch {parent} has no record {start} to leave it after.", value=start)
            branch = self.branches(uid)[-1].branch + 1
            self._database.write("INSERT INTO branches VALUES (?, ?, ?, ?)", uid, branch, parent, start)
        return branch

    def set_checkpoint(self, uid: int, checkpoint: StoredCheckpoint) -> None:
        """Name a position; a name that exists moves."""
        with self._transaction():
            self._database.write("DELETE FROM checkpoints WHERE uid = ? AND name = ?", uid, checkpoint.name)
            columns = (checkpoint.name, checkpoint.branch, checkpoint.position, checkpoint.step, checkpoint.created_at)
            self._database.write(
                "INSERT INTO checkpoints (uid, name, branch, position, step, created_at) VALUES (?, ?, ?, ?, ?, ?)",
                *(uid, *columns),
            )

    def checkpoints(self, uid: int) -> list[StoredCheckpoint]:
        """All checkpoints, the oldest first."""
        columns = "name, branch, position, step, created_at"
        query = f"SELECT {columns} FROM checkpoints WHERE uid = ? ORDER BY rowid"
        return [StoredCheckpoint(*row) for row in self._database.rows(query, uid)]

    def delete_checkpoint(self, uid: int, name: str) -> bool:
        """Remove a checkpoint; False where there is none of that name. The history it named stays."""
        with self._transaction():
            deleted = self._database.write("DELETE FROM checkpoints WHERE uid = ? AND name = ?", uid, name)
        return deleted.rowcount > 0

    def records(self, uid: int, lineage: Sequence[tuple[int, int, int]]) -> Iterator[StoredRecord]:
        """Records along `lineage`, one at a time: of each (branch, after, upto) those with after < position <= upto.

        Between two of them the store may be used as usual. A record that fails its checksum or is missing ends the
        iteration: it and all that follow on its branch are moved to the table `damaged`, and `damages` tells.

        Raises:
            Unavailable: the database cannot be read; or a record is damaged, but the run's state is known beyond it (by
                a snapshot, or by commits since the store was opened), so that cutting would lose what is not lost.
        """
        return self._journal.read(uid, lineage)

    def columns(self, uid: int, lineage: Sequence[tuple[int, int, int]]) -> Iterator[bytes]:
        """The columns of the records along `lineage`, one at a time; the payloads are not read."""
        return self._journal.columns(uid, lineage)

    def damages(self) -> list[Damage]:
        """What was cut since this store was opened."""
        return self._journal.damages()

    def save_snapshot(self, uid: int, snapshot: Snapshot) -> None:
        """Keep a snapshot (and the one before it), from any thread. In memory: does nothing."""
        if self._files is not None:
            self._files.save(uid, snapshot)

    def snapshots(self, uid: int) -> list[tuple[int, int]]:
        """(branch, position) of the snapshots kept, newest first."""
        return [] if self._files is None else self._files.kept(uid)

    def load_snapshot(self, uid: int, branch: int, position: int) -> Snapshot | None:
        """A snapshot, or None when it is damaged."""
        return None if self._files is None else self._files.load(uid, branch, position)

    def index_file(self, uid: int, name: str) -> Path | None:
        """Where an index of that name may be kept between starts; None in memory."""
        return None if self._files is None else self._files.index_file(uid, name)

    def keep_index(self, uid: int, file: Path) -> None:
        """It lies where it belongs."""

    def sweep_indices(self, uid: int, used: Set[str]) -> None:
        """Remove the files of all indices but those whose stem is used."""
        if self._files is not None:
            self._files.sweep_indices(uid, used)

    def journal_bytes(self, uid: int) -> int:
        """Bytes of a run's records."""
        rows = self._database.rows("SELECT coalesce(sum(length(payload)), 0) FROM log WHERE uid = ?", uid)
        return int(rows[0][0])

    def trim(self, uid: int, spans: Sequence[tuple[int, int, int]], base: int) -> None:
        """Drop the records of `spans`; from now on the journal begins behind `base`, whose snapshot is kept."""
        with self._transaction():
            for branch, after, upto in spans:
                here = (uid, branch, after, upto)
                self._database.write(
                    "DELETE FROM log WHERE uid = ? AND branch = ? AND position > ? AND position <= ?", *here
                )
            self._database.write("UPDATE runs SET base = ? WHERE uid = ?", base, uid)
        if self._files is not None:
            self._files.bases[uid] = base

    def keep(self, uid: int, address: str) -> None:
        """Nobody else keeps a run's barrier."""

    def keeper(self, uid: int) -> None:
        """Nobody else does."""

    def release(self, uid: int) -> None:
        """There is nobody to keep it."""

    def size(self) -> int:
        """Bytes of the data directory, or of the database in memory."""
        if self.directory is not None:
            return self._owned.size()
        return int(self._database.rows("PRAGMA page_count")[0][0] * self._database.rows("PRAGMA page_size")[0][0])

    def check(self) -> None:
        """Raise `Unavailable` unless the store can be written to now: the schema's version is, once more."""
        try:
            with self._transaction():
                self._database.write(f"PRAGMA user_version = {VERSION}")
        except StoreFull as full:
            raise Unavailable(full.detail, value=full.value, remedy=full.remedy) from full

    def close(self) -> None:
        """Write what is pending and give the directory back. Again: does nothing."""
        try:
            if self._answers.amended:
                with self._transaction():
                    pass
        except ProblemError as error:  # what was committed stays, which lacks only the time the commit took
            logger.warning("%d answers could not be amended: %s", self._answers.amended, error)
            self._answers.settle()
        finally:
            self._opened.close()

    def _append(self, uid: int, record: StoredRecord, answers: Sequence[NewResponse]) -> None:
        self._journal.append(uid, record)
        for one in answers:
            self._answers.add(uid, one.request_id, record, one.body_digest, one.answer)

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

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """All or nothing; takes the amended answers along."""
        with self._database.transaction():
            self._answers.write_amended()
            yield
        self._answers.settle()

    def _snapshot_beyond(self, uid: int, branch: int, position: int) -> bool:
        return any(kept[0] == branch and kept[1] >= position for kept in self.snapshots(uid))


def _always(uid: int, branch: int, position: int) -> bool:
    return True
