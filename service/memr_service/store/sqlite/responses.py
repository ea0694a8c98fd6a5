"""The responses to request ids, so that a retry gets the same bytes."""

from __future__ import annotations

import time

from memr_service.store.base import NewResponse, StoredRecord, StoredResponse
from memr_service.store.sqlite.database import Database


class SqliteResponses:
    """The responses of all runs in `database`, each kept for `hours`.

    An amended response is written by the next transaction on the database, whatever that is for.
    """

    def __init__(self, database: Database, hours: float) -> None:
        self._database = database
        self._seconds = hours * 3600
        self._amended: dict[int, bytes] = {}  # serial -> the response that the next transaction writes there
        self._added: dict[tuple[int, str], int] = {}  # the newest transaction's: (uid, request id) -> serial
        database.on_begin.append(self._write_amended)
        database.on_commit.append(self.settle)

    def add(self, uid: int, record: StoredRecord, new: NewResponse) -> None:
        """Store the response that `record` led to, within a transaction. `InternalError` if the branch has one."""
        added = self._database.write(
            "INSERT INTO answers (uid, request_id, branch, position, body_digest, answer, answered_at)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            *(uid, new.request_id, record.branch, record.position, new.body_digest, new.response, int(time.time())),
        )
        if added.lastrowid is not None:
            self._added[uid, new.request_id] = added.lastrowid

    def find(self, uid: int, request_id: str) -> list[StoredResponse]:
        """The responses to a request id, one for each branch that has one, the oldest first."""
        columns = "serial, branch, position, body_digest, answer"
        query = f"SELECT {columns} FROM answers WHERE uid = ? AND request_id = ? ORDER BY serial"
        return [
            StoredResponse(branch, position, digest, self._amended.get(serial, response))
            for serial, branch, position, digest, response in self._database.rows(query, uid, request_id)
        ]

    def amend(self, uid: int, request_id: str, response: bytes) -> None:
        """Replace the newest response to a request id: at once for `find`, on disk with the next transaction."""
        serial = self._added.pop((uid, request_id), None)
        if serial is None:
            newest = "SELECT max(serial) FROM answers WHERE uid = ? AND request_id = ?"
            serial = self._database.rows(newest, uid, request_id)[0][0]
        if serial is not None:
            self._amended[serial] = response

    @property
    def amended(self) -> int:
        """How many amended responses are not on disk yet."""
        return len(self._amended)

    def settle(self) -> None:
        """Forget the amended responses: they are on disk, or given up."""
        self._amended.clear()

    def prune(self) -> None:
        """Remove responses that are too old, within a transaction."""
        self._database.write("DELETE FROM answers WHERE answered_at < ?", time.time() - self._seconds)

    def _write_amended(self) -> None:
        self._added.clear()
        for serial, response in self._amended.items():
            self._database.write("UPDATE answers SET answer = ? WHERE serial = ?", response, serial)
