"""The SQLite file of a store: its schema, how it is opened and written, and what its errors mean."""

from __future__ import annotations

import errno
import logging
import os
import sqlite3
import struct
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from memr_client.errors import InternalError, StoreFull, Unavailable

from memr_service.store.private import private_database

logger = logging.getLogger("memr.store")

APPLICATION = 0x6D656D72  # "memr", in the file's header: other programs' files have another number
VERSION = 1

SCHEMA = """
CREATE TABLE runs (
    uid INTEGER PRIMARY KEY AUTOINCREMENT, run_id TEXT NOT NULL UNIQUE, config TEXT NOT NULL, law INTEGER NOT NULL,
    encoder TEXT, created_at TEXT NOT NULL, base INTEGER NOT NULL DEFAULT 0);
CREATE TABLE branches (
    uid INTEGER NOT NULL REFERENCES runs ON DELETE CASCADE, branch INTEGER NOT NULL, parent INTEGER,
    start INTEGER NOT NULL, PRIMARY KEY (uid, branch));
CREATE TABLE log (
    uid INTEGER NOT NULL, branch INTEGER NOT NULL, position INTEGER NOT NULL, crc INTEGER NOT NULL,
    columns BLOB NOT NULL, payload BLOB NOT NULL, UNIQUE (uid, branch, position),
    FOREIGN KEY (uid, branch) REFERENCES branches ON DELETE CASCADE);
CREATE TABLE answers (
    serial INTEGER PRIMARY KEY, uid INTEGER NOT NULL, request_id TEXT NOT NULL, branch INTEGER NOT NULL,
    position INTEGER NOT NULL, body_digest BLOB NOT NULL, answer BLOB NOT NULL, answered_at INTEGER NOT NULL,
    UNIQUE (uid, request_id, branch), FOREIGN KEY (uid, branch) REFERENCES branches ON DELETE CASCADE);
CREATE INDEX answers_by_age ON answers (answered_at);
CREATE TABLE damaged (
    uid INTEGER NOT NULL REFERENCES runs ON DELETE CASCADE, branch INTEGER NOT NULL, position INTEGER NOT NULL,
    crc INTEGER, columns BLOB, payload BLOB, reason TEXT NOT NULL, cut_at INTEGER NOT NULL);
CREATE TABLE checkpoints (
    uid INTEGER NOT NULL, name TEXT NOT NULL, branch INTEGER NOT NULL, position INTEGER NOT NULL, step INTEGER,
    created_at TEXT NOT NULL, PRIMARY KEY (uid, name),
    FOREIGN KEY (uid, branch) REFERENCES branches ON DELETE CASCADE);
"""

PAGE = 8192
"""Bytes of a page of the database and of its write-ahead log."""
TIDY_PAGES = 250
"""Pages in the log from which on `tidy` writes it into the database. That takes about 3 ms, once in eight commits of
200 kB; for 1000 pages it would take 10 ms, a quarter as often."""
WAL_PAGES = 1000
"""Pages in the log from which on a commit writes it into the database itself."""
COMMIT_PAGES = 7
"""Pages that a commit puts into the log besides what it carries, about."""
WAL_BYTES = 64 << 20
"""A log file that has grown larger than this is cut when the log starts again from its beginning."""

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Database:
    """A connection to `file` (created if it does not exist; None: in memory). Transactions are all or nothing.

    A commit is on the disk when it returns (write-ahead log, synchronous=FULL). The connection may be used from any
    thread, but by one at a time. SQLite's locking stays in its normal mode, not `exclusive`: a forked child that closes
    its copy of the connection would then believe it held the lock, and delete the log under its parent.

    Raises:
        StoreFull: no room. Unavailable: damaged, not memr's, written by a newer memr, or unreadable.
    """

    def __init__(self, file: Path | None) -> None:
        self.file = file
        self.on_begin: list[Callable[[], None]] = []
        """Called at the beginning of each transaction, to write what has been waiting for one."""
        self.on_commit: list[Callable[[], None]] = []
        """Called once a transaction is durable."""
        self._logged = 0
        self._ended_by: BaseException | None = None
        """What ended the transaction while a part of it was written."""
        with translated(file):
            written = 0 if file is None else _frames_written(file.with_name(file.name + "-wal"))
            if file is not None:
                private_database(file)
            self._connection = sqlite3.connect(file or ":memory:", isolation_level=None, check_same_thread=False)
            try:
                _prepare(self._connection, file)
                frames = self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()[1]
            except BaseException:
                self._connection.close()
                raise
        if written > frames >= 0:
            torn = written - frames
            logger.warning("%s ended in %d pages of a commit that is torn or damaged; they are ignored", file, torn)

    def rows(self, statement: str, *values: object) -> list[Any]:
        """Run a statement and return all its rows."""
        with translated(self.file):
            return self._connection.execute(statement, values).fetchall()

    def write(self, statement: str, *values: object) -> sqlite3.Cursor:
        """Run a statement that changes something; its cursor has `lastrowid` and `rowcount`."""
        self._logged += sum(len(value) for value in values if isinstance(value, bytes))
        with translated(self.file):
            return self._connection.execute(statement, values)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Make everything written inside durable at the end, or, if anything raises, nothing.

        A transaction inside another is a part of it: if it raises, only the part is taken back.
        """
        with translated(self.file):
            begun = self._connection.in_transaction
        if begun or self._ended_by is not None:
            with self._part():
                yield
            return
        self.write("BEGIN IMMEDIATE")
        try:
            for write in self.on_begin:
                write()
            yield
            if self._ended_by is not None:
                raise self._ended_by
            self.write("COMMIT")
            self._logged += COMMIT_PAGES * PAGE
        except BaseException:
            if self._connection.in_transaction:  # a full disk may have ended it already
                self.write("ROLLBACK")
            raise
        finally:
            self._ended_by = None
        for written in self.on_commit:
            written()

    @contextmanager
    def _part(self) -> Iterator[None]:
        """Write a part of the transaction, or, if anything raises, nothing of it."""
        if self._ended_by is not None:
            raise self._ended_by
        self.write("SAVEPOINT part")
        try:
            yield
        except BaseException as error:
            if self._connection.in_transaction:
                self.write("ROLLBACK TO part")
                self.write("RELEASE part")
            else:  # a full disk has ended the whole
                self._ended_by = error
            raise
        self.write("RELEASE part")
        self._logged += PAGE

    def tidy(self) -> None:
        """Write the log into the database if it has `TIDY_PAGES`, so that no commit has to do it."""
        if self._logged >= TIDY_PAGES * PAGE:
            self._logged = 0
            self.rows("PRAGMA wal_checkpoint(PASSIVE)")

    def reclaim(self) -> bool:
        """Give some space of deleted rows back to the disk; it needs little room for the log. Returns whether there is
        more."""
        before = self.rows("PRAGMA freelist_count")[0][0]
        if before:
            self.rows("PRAGMA wal_checkpoint(TRUNCATE)")
            with translated(self.file):
                self._connection.executescript(f"PRAGMA incremental_vacuum({TIDY_PAGES})")  # `execute` frees one page
            self.rows("PRAGMA wal_checkpoint(TRUNCATE)")
        return bool(0 < self.rows("PRAGMA freelist_count")[0][0] < before)

    def close(self) -> None:
        """Write the log into the database and close both. A second call does nothing."""
        self._connection.close()


def _prepare(db: sqlite3.Connection, file: Path | None) -> None:
    version = db.execute("PRAGMA user_version").fetchone()[0]
    new = version == 0 and db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0
    if not new and db.execute("PRAGMA application_id").fetchone()[0] != APPLICATION:
        raise Unavailable(f"{file} belongs to another program.", value=str(file), remedy="Give another directory.")
    if version > VERSION:
        raise Unavailable(
            f"{file} was written by a newer memr (schema {version}).",
            value=version,
            limit=VERSION,
            remedy=f"Use that version, or give another directory; this one reads schemas up to {VERSION}.",
        )
    for pragma in (
        f"page_size = {PAGE}",
        "auto_vacuum = INCREMENTAL",  # so that a deleted run's space can be given back
        "journal_mode = WAL",
        "synchronous = FULL",
        "foreign_keys = ON",
        "secure_delete = FAST",  # otherwise some builds of SQLite write every page of a deleted run, to blank it
        f"wal_autocheckpoint = {WAL_PAGES}",
        f"journal_size_limit = {WAL_BYTES}",
    ):
        db.execute(f"PRAGMA {pragma}")
    if new:
        marks = f"PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {VERSION};"
        db.executescript(f"BEGIN IMMEDIATE; {SCHEMA} {marks} COMMIT;")


def _frames_written(wal: Path) -> int:
    """How many page frames the write-ahead log holds since its last reset, whole or not.

    SQLite reads as far as the checksums match and does not report the rest. More frames here than SQLite read mean that
    the log's end is torn. Format: a header of 32 bytes (page size at 8, two salts at 16), then frames of 24 bytes
    (salts at 8) and a page each.
    """
    count = 0
    if wal.exists():
        with wal.open("rb") as file:
            header = file.read(32)
            while len(frame := file.read(24)) == 24 and frame[8:16] == header[16:24]:
                count += 1
                file.seek(struct.unpack(">I", header[8:12])[0], os.SEEK_CUR)
    return count


@contextmanager
def translated(file: Path | None) -> Iterator[None]:
    """Turn errors of SQLite and of the operating system into those that a store promises."""
    where = "memory:" if file is None else str(file)
    try:
        yield
    except sqlite3.IntegrityError as error:
        raise InternalError(f"{where} refused a write that breaks its rules ({error}).", value=str(error)) from error
    except (sqlite3.Error, OSError) as error:
        if _out_of_room(error, file):
            raise StoreFull(
                f"there is no room to write to {where} ({error}); nothing was written.",
                value=where,
                remedy="Free space on its disk or raise the quota, then send the request again.",
            ) from error
        broken = "malformed" in str(error) or "not a database" in str(error)
        raise Unavailable(
            f"{where} {'is damaged' if broken else 'cannot be read or written'} ({error}).",
            value=where,
            remedy="Stop the service, keep a copy of the directory, and restore it from a backup or with"
            " `sqlite3 memr.db .recover | sqlite3 recovered.db`."
            if broken
            else "Check its disk and permissions, and that no other program has it open; then try again.",
        ) from error


def _out_of_room(error: sqlite3.Error | OSError, file: Path | None) -> bool:
    if isinstance(error, OSError):
        return error.errno in NO_ROOM
    if "database or disk is full" in str(error):
        return True
    return file is not None and "disk I/O error" in str(error) and _over_quota(file.parent)


def _over_quota(directory: Path) -> bool:
    """Whether writing fails for lack of room: SQLite reports a user's quota or file size limit as a mere I/O error."""
    try:
        with tempfile.TemporaryFile(dir=directory) as probe:
            probe.write(bytes(1 << 16))
            probe.flush()
            os.fsync(probe.fileno())
    except OSError as error:
        return error.errno in NO_ROOM
    return False
