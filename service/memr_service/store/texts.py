"""Prompts and completions for people to read: a side store that may forget, and that nothing waits for."""

from __future__ import annotations

import json
import logging
import queue
import sqlite3
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, cast

from memr_service.store.private import private_database

logger = logging.getLogger("memr.store")

T = TypeVar("T")

SCHEMA = """
CREATE TABLE IF NOT EXISTS texts (
    uid INTEGER NOT NULL, serial INTEGER NOT NULL, at INTEGER NOT NULL, bytes INTEGER NOT NULL, items BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS texts_by_serial ON texts (uid, serial);
CREATE INDEX IF NOT EXISTS texts_by_age ON texts (at);
"""

ROW_ITEMS = 64
"""Items that are compressed together, so that the equal prompts of a group take little more room than one."""
WAITING_CHARS = 64 << 20
PRUNING_S = 3600.0
GATHER_S = 0.05
"""Seconds in which records come together whose texts are stored in one transaction. Who asks for a text ends them."""
PATIENCE_S = 60.0
"""How long a caller waits for the thread."""


@dataclass(frozen=True)
class _Job:
    do: Callable[[sqlite3.Connection], Any]
    items: int = 0
    """Items that are lost if it fails."""
    chars: int = 0
    """Characters of the room for waiting texts that it takes."""
    reply: Future[Any] = field(default_factory=Future)


@dataclass(frozen=True)
class _Record:
    """The texts of a record: item j has the serial number `serial` + j."""

    uid: int
    serial: int
    items: list[tuple[str, str]]
    chars: int


class Texts:
    """Prompts and completions by run (uid) and serial number, in a SQLite file of their own (None: in memory).

    One thread does all the work. A failure (a full disk, a damaged file) is logged, and its texts are lost: no reward
    depends on a text.

    Args:
        quota_bytes: most that is stored (compressed); the oldest texts go first. 0 keeps nothing.
        max_age_days: older texts are removed.
        waiting_chars: most characters that may wait for the thread.
    """

    def __init__(
        self, path: Path | None, quota_bytes: int, max_age_days: float, waiting_chars: int = WAITING_CHARS
    ) -> None:
        self.dropped = 0
        """Items that were not stored, because too much was waiting or because storing failed."""
        self._path = path
        self._quota = quota_bytes
        self._max_age_s = max_age_days * 86400
        self._room = waiting_chars
        self._gathered: list[_Record] = []
        self._lock = threading.Lock()  # guards `_room`, `_gathered` and `dropped`
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._database: sqlite3.Connection | None = None
        self._used = 0
        self._thread = threading.Thread(target=self._work, name="memr-texts", daemon=True)
        self._thread.start()

    def put(self, uid: int, serial: int, prompts: Sequence[str], completions: Sequence[str]) -> None:
        """Keep the texts of a record, item j under `serial` + j. Return at once; drop them if too much is waiting."""
        if self._quota == 0:
            return
        items = list(zip(prompts, completions, strict=True))
        chars = sum(map(len, prompts)) + sum(map(len, completions))
        with self._lock:
            if chars > self._room or not self._thread.is_alive():
                self.dropped += len(items)
                return
            self._room -= chars
            self._gathered.append(_Record(uid, serial, items, chars))
            is_first = len(self._gathered) == 1
        if is_first:
            self._jobs.put(_GATHERED)

    def get(self, uid: int, serials: Sequence[int]) -> dict[int, tuple[str, str]]:
        """serial -> (prompt, completion), for the items that are still kept."""
        return self._ask(lambda database: dict(_kept(database, uid, serials)), {})

    def search(self, uid: int, serials: Sequence[int], text: str) -> set[int]:
        """Serial numbers of the kept items whose prompt or completion contains a text; case does not count."""
        wanted = text.casefold()
        return self._ask(
            lambda database: {
                serial
                for serial, pair in _kept(database, uid, serials)
                if any(wanted in one.casefold() for one in pair)
            },
            set(),
        )

    def delete(self, uid: int) -> None:
        """Forget a run's texts. Return at once."""

        def do(database: sqlite3.Connection) -> None:
            database.execute("DELETE FROM texts WHERE uid = ?", (uid,))
            self._used = _total(database)

        self._jobs.put(_Job(do))

    def flush(self) -> None:
        """Return once everything asked so far is done."""
        self._ask(_nothing, None)

    def close(self) -> None:
        """Finish what is waiting, and stop. A second call does nothing."""
        self._jobs.put(None)
        self._thread.join()

    def _ask(self, question: Callable[[sqlite3.Connection], T], otherwise: T) -> T:
        """The thread's reply to a question; `otherwise` if it gives none (closed, forked away, stuck or failed)."""
        if not self._thread.is_alive():
            return otherwise
        job = _Job(question)
        self._jobs.put(job)
        try:
            return cast(T, job.reply.result(PATIENCE_S))
        except Exception:  # the thread has logged it
            return otherwise

    def _work(self) -> None:
        job: _Job | None = _Job(_nothing)  # every job prunes
        while job is not None:
            if job is not _GATHERED:
                self._attempt(job)
            job = self._next()
            self._store_gathered()
        if self._database is not None:
            self._database.close()

    def _next(self) -> _Job | None:
        job: _Job | None = _Job(_nothing)
        with suppress(queue.Empty):
            job = self._jobs.get(timeout=PRUNING_S)
            if job is _GATHERED:
                job = self._jobs.get(timeout=GATHER_S)
        return job

    def _store_gathered(self) -> None:
        with self._lock:
            records, self._gathered = self._gathered, []

        def store(database: sqlite3.Connection) -> None:
            for record in records:
                self._store(database, record)
                self._keep_to_quota(database)

        if records:
            items, chars = sum(len(one.items) for one in records), sum(one.chars for one in records)
            self._attempt(_Job(store, items, chars))

    def _attempt(self, job: _Job) -> None:
        try:
            database = self._open()
            with database:  # one transaction
                done = job.do(database)
                self._prune(database)
            job.reply.set_result(done)
        except Exception as error:
            logger.warning("texts: %s (%d items dropped)", error, job.items)
            with self._lock:
                self.dropped += job.items
            self._start_over(error)
            job.reply.set_exception(error)
        with self._lock:
            self._room += job.chars

    def _open(self) -> sqlite3.Connection:
        if self._database is None:
            if self._path is not None:
                private_database(self._path)
            self._database = sqlite3.connect(self._path or ":memory:")
            # It does not wait for the disk: a power cut may lose the newest texts, but leaves the file whole.
            self._database.executescript(f"PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; {SCHEMA}")
            self._used = _total(self._database)
        return self._database

    def _start_over(self, error: Exception) -> None:
        """Open the file again for the next job; delete it if it is damaged."""
        if self._database is not None:
            self._database.close()
            self._database = None
        if self._path is not None and ("malformed" in str(error) or "not a database" in str(error)):
            logger.warning("texts: %s is damaged; it is deleted, and a new one begun", self._path)
            for suffix in ("", "-wal", "-shm"):
                with suppress(OSError):
                    self._path.with_name(self._path.name + suffix).unlink()

    def _store(self, database: sqlite3.Connection, record: _Record) -> None:
        for start in range(0, len(record.items), ROW_ITEMS):
            text = json.dumps(record.items[start : start + ROW_ITEMS], ensure_ascii=False)
            packed = zlib.compress(text.encode("utf-8", "surrogatepass"), 1)
            row = (record.uid, record.serial + start, int(time.time()), len(packed), packed)
            database.execute("INSERT INTO texts VALUES (?, ?, ?, ?, ?)", row)
            self._used += len(packed)

    def _prune(self, database: sqlite3.Connection) -> None:
        if database.execute("DELETE FROM texts WHERE at < ?", (time.time() - self._max_age_s,)).rowcount:
            self._used = _total(database)
        self._keep_to_quota(database)

    def _keep_to_quota(self, database: sqlite3.Connection) -> None:
        while self._used > self._quota:
            rowid, size = database.execute("SELECT rowid, bytes FROM texts ORDER BY at, rowid LIMIT 1").fetchone()
            database.execute("DELETE FROM texts WHERE rowid = ?", (rowid,))
            self._used -= size


def _nothing(_: sqlite3.Connection) -> None:
    pass


_GATHERED = _Job(_nothing)
"""Says that a record's texts wait, and more may come. It is no work of its own."""


def _total(database: sqlite3.Connection) -> int:
    return int(database.execute("SELECT coalesce(sum(bytes), 0) FROM texts").fetchone()[0])


def _kept(database: sqlite3.Connection, uid: int, serials: Sequence[int]) -> Iterator[tuple[int, tuple[str, str]]]:
    """(serial, (prompt, completion)) of the items that are still kept, in order. Each row is unpacked once."""
    newest = "SELECT rowid, serial FROM texts WHERE uid = ? AND serial <= ? ORDER BY serial DESC, rowid DESC LIMIT 1"
    last, items = None, []
    for serial in sorted(serials):
        for rowid, start in database.execute(newest, (uid, serial)):
            if rowid != last:
                (packed,) = database.execute("SELECT items FROM texts WHERE rowid = ?", (rowid,)).fetchone()
                last, items = rowid, json.loads(zlib.decompress(packed).decode("utf-8", "surrogatepass"))
            if serial - start < len(items):
                prompt, completion = items[serial - start]
                yield serial, (prompt, completion)
