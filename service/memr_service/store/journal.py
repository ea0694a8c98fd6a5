"""Records in order, each with a checksum: what a run's state follows from."""

from __future__ import annotations

import logging
import struct
import time
import zlib
from collections.abc import Callable, Iterator, Sequence

from memr_client.errors import InternalError, Unavailable, UnknownRun

from memr_service.store.base import Damage, StoredRecord
from memr_service.store.database import Database

logger = logging.getLogger("memr.store")

FROM_HERE = "WHERE uid = ? AND branch = ? AND position >= ?"

LAST_POSITION = """
SELECT coalesce((SELECT max(position) FROM log WHERE log.uid = branches.uid AND log.branch = branches.branch), start)
FROM branches WHERE uid = ? AND branch = ?"""

# The cast keeps a damaged type byte from making a text of the payload.
NEXT_RECORD = """
SELECT position, crc, CAST(payload AS BLOB) FROM log
WHERE uid = ? AND branch = ? AND position > ? AND position <= ? ORDER BY position LIMIT 1"""

NEXT_COLUMNS = """
SELECT position, columns FROM log WHERE uid = ? AND branch = ? AND position > ? AND position <= ?
ORDER BY position LIMIT ?"""
COLUMNS_AT_ONCE = 256


class Journal:
    """The records of all runs in `database`.

    `known_beyond(uid, branch, position)` tells whether a state at or after that record is kept elsewhere.
    """

    def __init__(self, database: Database, known_beyond: Callable[[int, int, int], bool]) -> None:
        self._database = database
        self._known_beyond = known_beyond
        self._grown: set[tuple[int, int]] = set()  # (uid, branch) appended to since the journal was opened
        self._damages: list[Damage] = []

    def last(self, uid: int, branch: int) -> int:
        """Position of a branch's last record (where it has none: of the record it began after)."""
        rows = self._database.rows(LAST_POSITION, uid, branch)
        if not rows:
            raise UnknownRun(f"there is no run {uid} with a branch {branch} (was it deleted?).", value=uid)
        return int(rows[0][0])

    def append(self, uid: int, record: StoredRecord) -> None:
        """Add a record, within a transaction.

        Raises:
            UnknownRun: no such run or branch. InternalError: the record does not follow the last one of its branch.
        """
        branch, position, payload = record.branch, record.position, record.payload
        last = self.last(uid, branch)
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

    def read(self, uid: int, lineage: Sequence[tuple[int, int, int]]) -> Iterator[StoredRecord]:
        """Records along `lineage` (see `Store.records`), one at a time, holding nothing open between two of them."""
        for branch, after, upto in lineage:
            position = after
            while position < upto:
                rows = self._database.rows(NEXT_RECORD, uid, branch, position, upto)
                if not rows:
                    return  # the branch ends here, and with it whatever left it later
                position += 1
                found, crc, blob = rows[0]
                payload = bytes(blob or b"")
                if found != position or crc != _checksum(branch, position, payload):
                    self._cut(uid, branch, position, "checksum mismatch" if found == position else "missing")
                    return
                yield StoredRecord(branch, position, payload)

    def columns(self, uid: int, lineage: Sequence[tuple[int, int, int]]) -> Iterator[bytes]:
        """The columns of the records along `lineage`, one at a time."""
        for branch, after, upto in lineage:
            while rows := self._database.rows(NEXT_COLUMNS, uid, branch, after, upto, COLUMNS_AT_ONCE):
                yield from (columns for _, columns in rows)
                after = rows[-1][0]

    def damages(self) -> list[Damage]:
        """What was cut since the journal was opened."""
        return list(self._damages)

    def _cut(self, uid: int, branch: int, position: int, reason: str) -> None:
        file, write = self._database.file, self._database.write
        run_id = self._database.rows("SELECT run_id FROM runs WHERE uid = ?", uid)[0][0]
        if (uid, branch) in self._grown or self._known_beyond(uid, branch, position):
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


def _checksum(branch: int, position: int, payload: bytes) -> int:
    return zlib.crc32(payload, zlib.crc32(struct.pack("<qq", branch, position)))
