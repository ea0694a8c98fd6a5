"""Records in order, each with a checksum, and the branches they lie on."""

from __future__ import annotations

import logging
import struct
import time
import zlib
from collections.abc import Iterator, Sequence

from memr_client.errors import InternalError, Unavailable, UnknownRun

from memr_service.store.base import Branch, Damage, NewResponse, StoredRecord
from memr_service.store.lineage import Span
from memr_service.store.sqlite.database import Database
from memr_service.store.sqlite.responses import SqliteResponses
from memr_service.store.sqlite.snapshots import SqliteSnapshots

logger = logging.getLogger("memr.store")

COMMITS_PER_PRUNING = 1000
FROM_HERE = "WHERE uid = ? AND branch = ? AND position >= ?"

LAST_POSITION = """
SELECT coalesce((SELECT max(position) FROM log WHERE log.uid = branches.uid AND log.branch = branches.branch), start)
FROM branches WHERE uid = ? AND branch = ?"""

# The cast keeps a damaged type byte from making a text of the payload.
NEXT_RECORD = """
SELECT position, crc, CAST(payload AS BLOB) FROM log
WHERE uid = ? AND branch = ? AND position > ? AND position <= ? ORDER BY position LIMIT 1"""

LAST_RECORD = """
SELECT position, crc, CAST(payload AS BLOB) FROM log
WHERE uid = ? AND branch = ? AND position > ? AND position <= ? ORDER BY position DESC LIMIT 1"""

NEXT_COLUMNS = """
SELECT position, columns FROM log WHERE uid = ? AND branch = ? AND position > ? AND position <= ?
ORDER BY position LIMIT ?"""
COLUMNS_AT_ONCE = 256


class SqliteJournal:
    """The records of all runs in `database`. `snapshots` is None in memory; `mend`: see `SqliteStore`."""

    def __init__(
        self, database: Database, responses: SqliteResponses, snapshots: SqliteSnapshots | None, *, mend: bool = True
    ) -> None:
        self._database = database
        self._responses = responses
        self._snapshots = snapshots
        self._mend = mend
        self._commits = 0
        self._grown: set[tuple[int, int]] = set()  # (uid, branch) committed to since the store was opened
        self._damages: list[Damage] = []

    def commit(self, uid: int, record: StoredRecord, responses: Sequence[NewResponse] = ()) -> None:
        """Make a record and the responses to its request ids durable, all or nothing.

        Raises:
            UnknownRun: no such run or branch.
            InternalError: the record does not follow the last one of its branch, or the branch has a response to one of
                the request ids (a defect of the caller in both cases).
            StoreFull: no room. Unavailable: any other failure. Nothing was written in any of these cases.
        """
        with self._database.transaction():
            self.append(uid, record, responses)
            if (self._commits + 1) % COMMITS_PER_PRUNING == 0:
                self._responses.prune()
        self._commits += 1

    def append(self, uid: int, record: StoredRecord, responses: Sequence[NewResponse]) -> None:
        """`commit`, as a part of the transaction that the caller has begun."""
        branch, position, payload = record.branch, record.position, record.payload
        last = self._last(uid, branch)
        if position != last + 1:
            raise InternalError(
                f"record {position} does not follow record {last} on branch {branch}; it was refused.",
                value=position,
                limit=last + 1,
                remedy="Restart the service: it then continues from what is stored.",
            )
        crc = _checksum(branch, position, payload)
        self._database.write(
            "INSERT INTO log VALUES (?, ?, ?, ?, ?, ?)", uid, branch, position, crc, record.columns, payload
        )
        self._grown.add((uid, branch))
        for response in responses:
            self._responses.add(uid, record, response)

    def records(self, uid: int, lineage: Sequence[Span]) -> Iterator[StoredRecord]:
        """Records along `lineage`, one at a time (see `Journal.records`). Cut records go to the table `damaged`."""
        for branch, after, upto in lineage:
            position = after
            while position < upto:
                rows = self._database.rows(NEXT_RECORD, uid, branch, position, upto)
                if not rows:
                    return  # the branch ends here, and so do all branches that left it later
                position += 1
                found, crc, blob = rows[0]
                payload = bytes(blob or b"")
                if found != position or crc != _checksum(branch, position, payload):
                    self._cut(uid, branch, position, "checksum mismatch" if found == position else "missing")
                    return
                yield StoredRecord(branch, position, payload)

    def columns(self, uid: int, lineage: Sequence[Span]) -> Iterator[bytes]:
        """The columns of the records along `lineage`, in order; payloads are not read."""
        for branch, after, upto in lineage:
            while rows := self._database.rows(NEXT_COLUMNS, uid, branch, after, upto, COLUMNS_AT_ONCE):
                yield from (columns for _, columns in rows)
                after = rows[-1][0]

    def last(self, uid: int, lineage: Sequence[Span]) -> StoredRecord | None:
        """The last record along `lineage`; None if there is none (see `Journal.last`)."""
        for branch, after, upto in reversed(lineage):
            for position, crc, blob in self._database.rows(LAST_RECORD, uid, branch, after, upto):
                payload = bytes(blob or b"")
                if crc != _checksum(branch, position, payload):
                    raise Unavailable(
                        f"record {position} (branch {branch}) is damaged: checksum mismatch.",
                        value=position,
                        remedy="Open the run, or restore the data directory from a backup.",
                    )
                return StoredRecord(branch, position, payload)
        return None

    def branches(self, uid: int) -> list[Branch]:
        """All branches of a run, the oldest first; the last is the current one."""
        query = "SELECT branch, parent, start FROM branches WHERE uid = ? ORDER BY branch"
        return [Branch(*row) for row in self._database.rows(query, uid)]

    def add_branch(self, uid: int, parent: int, start: int) -> int:
        """Begin a branch that leaves `parent` after record `start`, and return its number."""
        with self._database.transaction():
            if not 0 <= start <= self._last(uid, parent):
                raise InternalError(f"branch {parent} has no record {start} to leave it after.", value=start)
            branch = self.branches(uid)[-1].branch + 1
            self._database.write("INSERT INTO branches VALUES (?, ?, ?, ?)", uid, branch, parent, start)
        return branch

    def size(self, uid: int) -> int:
        """Bytes of a run's records."""
        rows = self._database.rows("SELECT coalesce(sum(length(payload)), 0) FROM log WHERE uid = ?", uid)
        return int(rows[0][0])

    def trim(self, uid: int, spans: Sequence[Span], base: int) -> None:
        """Drop the records of `spans`; from now on the journal begins after position `base`."""
        with self._database.transaction():
            for branch, after, upto in spans:
                here = (uid, branch, after, upto)
                self._database.write(
                    "DELETE FROM log WHERE uid = ? AND branch = ? AND position > ? AND position <= ?", *here
                )
            self._database.write("UPDATE runs SET base = ? WHERE uid = ?", base, uid)
        if self._snapshots is not None:
            self._snapshots.rebase(uid, base)

    def damages(self) -> list[Damage]:
        """What was cut since the store was opened."""
        return list(self._damages)

    def _last(self, uid: int, branch: int) -> int:
        """Position of a branch's last record; if it has none, of the record that the branch left its parent after."""
        rows = self._database.rows(LAST_POSITION, uid, branch)
        if not rows:
            raise UnknownRun(f"there is no run {uid} with a branch {branch} (was it deleted?).", value=uid)
        return int(rows[0][0])

    def _cut(self, uid: int, branch: int, position: int, reason: str) -> None:
        """Move a record and all later ones of its branch to the table `damaged`, unless that would lose more."""
        file, write = self._database.file, self._database.write
        run_id = self._database.rows("SELECT run_id FROM runs WHERE uid = ?", uid)[0][0]
        if not self._mend or (uid, branch) in self._grown or self._has_snapshot_after(uid, branch, position):
            raise Unavailable(
                f"record {position} (branch {branch}) of run {run_id!r} in {file} is damaged: {reason}.",
                value=position,
                remedy="The run goes on, for its state is known without this record; to read its whole journal,"
                " restore the data directory from a backup.",
            )
        here, now = (uid, branch, position), int(time.time())
        with self._database.transaction():
            write(f"INSERT INTO damaged SELECT *, ?, ? FROM log {FROM_HERE}", reason, now, *here)
            count = write(f"DELETE FROM log {FROM_HERE}", *here).rowcount
            write(f"DELETE FROM answers {FROM_HERE}", *here)
        self._damages.append(Damage(run_id, branch, position, count, reason))
        logger.warning(
            "run %s: record %d (branch %d) in %s is damaged: %s; it and what follows, %d records, were cut"
            " (the table 'damaged' keeps them)",
            *(run_id, position, branch, file, reason, count),
        )

    def _has_snapshot_after(self, uid: int, branch: int, position: int) -> bool:
        """Whether a snapshot holds the state at or after a record."""
        kept = [] if self._snapshots is None else self._snapshots.kept(uid)
        return any(one == branch and at >= position for one, at in kept)


def _checksum(branch: int, position: int, payload: bytes) -> int:
    return zlib.crc32(payload, zlib.crc32(struct.pack("<qq", branch, position)))
