"""The `Store` of one process."""

from __future__ import annotations

import logging
from contextlib import ExitStack, closing
from pathlib import Path

from memr_client.errors import ProblemError, StoreFull, Unavailable

from memr_service.store.sqlite.checkpoints import SqliteCheckpoints
from memr_service.store.sqlite.data_directory import DataDirectory
from memr_service.store.sqlite.database import VERSION, Database
from memr_service.store.sqlite.index_files import SqliteIndexFiles
from memr_service.store.sqlite.journal import SqliteJournal
from memr_service.store.sqlite.reserve import Reserve
from memr_service.store.sqlite.responses import SqliteResponses
from memr_service.store.sqlite.runs import SqliteRuns, bases, sweep
from memr_service.store.sqlite.snapshots import SqliteSnapshots

logger = logging.getLogger("memr.store")


class SqliteStore:
    """A `Store` in `directory`, or in memory (None). Responses to request ids are kept for `response_hours`.

    With `mend`, damaged records are cut, so that their run can go on. Without it, reading them is refused; this is for
    a reader that must not change anything.

    The store may be opened in one thread and used in another, but by one at a time; snapshots and index files may be
    used from any thread at any time.

    Raises:
        StoreFull: no room. Unavailable: the directory is another process's, cannot be written to, or is damaged.
    """

    def __init__(self, directory: Path | None, response_hours: float = 48, *, mend: bool = True) -> None:
        self.url = "memory:" if directory is None else f"sqlite:///{directory}"
        self.directory = directory
        self.shared = None
        self.leases = None
        with ExitStack() as opened:
            if directory is not None:
                self._owned = opened.enter_context(closing(DataDirectory(directory)))
            file = None if directory is None else directory / "memr.db"
            self._database = database = opened.enter_context(closing(Database(file)))
            self.transactions = database
            self.checkpoints = SqliteCheckpoints(database)
            self.responses = SqliteResponses(database, response_hours)
            with database.transaction():
                self.responses.prune()
                sweep(database)
            known = bases(database)
            self.snapshots = None if directory is None else SqliteSnapshots(directory / "snapshots", known)
            self.index_files = None if directory is None else SqliteIndexFiles(directory / "index", known)
            self.journal = SqliteJournal(database, self.responses, self.snapshots, mend=mend)
            reserve = None if directory is None else Reserve(directory / "reserve")
            self.runs = SqliteRuns(database, self.journal, self.snapshots, self.index_files, reserve)
            self._opened = opened.pop_all()

    def tidy(self) -> None:
        """Write the database's log into the database, if that is due. The next commit reports what prevents it."""
        try:
            self._database.tidy()
        except ProblemError as error:
            logger.warning("the log of %s could not be written into it: %s", self.url, error.in_one_line)

    def size(self) -> int:
        """Bytes of the data directory, or of the database in memory."""
        if self.directory is not None:
            return self._owned.size()
        return int(self._database.rows("PRAGMA page_count")[0][0] * self._database.rows("PRAGMA page_size")[0][0])

    def check(self) -> None:
        """Raise `Unavailable` unless the store can be written to now: write the schema's version once more."""
        try:
            with self._database.transaction():
                self._database.write(f"PRAGMA user_version = {VERSION}")
        except StoreFull as full:
            raise Unavailable(full.detail, value=full.value, remedy=full.remedy) from full

    def close(self) -> None:
        """Write what is pending and release the directory. A second call does nothing."""
        try:
            if self.responses.amended:
                with self._database.transaction():
                    pass
        except ProblemError as error:  # the committed responses stay; they lack only the time that the commit took
            logger.warning("%d responses could not be amended: %s", self.responses.amended, error.in_one_line)
            self.responses.settle()
        finally:
            self._opened.close()
