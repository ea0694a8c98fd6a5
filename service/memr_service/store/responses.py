"""What request ids were answered with, so that a retry gets the same bytes."""

from __future__ import annotations

import time

from memr_service.store.base import StoredRecord, StoredResponse
from memr_service.store.database import Database


class Responses:
    """The answers of all runs in `database`, each kept for `hours`; written within the caller's transactions."""

    def __init__(self, database: Database, hours: float) -> None:
        self._database = database
        self._seconds = hours * 3600
        self._amended: dict[int, bytes] = {}  # serial -> what to put in its place with the next transaction

    def add(self, uid: int, request_id: str, record: StoredRecord, body_digest: bytes, answer: bytes) -> None:
        """Store the answer that `record` led to. A second one for the id on this branch breaks the table's rules."""
        self._database.write(
            "INSERT INTO answers (uid, request_id, branch, position, body_digest, answer, answered_at)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            *(uid, request_id, record.branch, record.position, body_digest, answer, int(time.time())),
        )

    def find(self, uid: int, request_id: str) -> list[StoredResponse]:
        """All answers to a request id, the oldest first."""
        columns = "serial, branch, position, body_digest, answer"
        query = f"SELECT {columns} FROM answers WHERE uid = ? AND request_id = ? ORDER BY serial"
        return [
            StoredResponse(branch, position, digest, self._amended.get(serial, answer))
            for serial, branch, position, digest, answer in self._database.rows(query, uid, request_id)
        ]

    def amend(self, uid: int, request_id: str, answer: bytes) -> None:
        """Replace the latest answer to a request id: at once for `find`, on disk by `write_amended`."""
        newest = "SELECT max(serial) FROM answers WHERE uid = ? AND request_id = ?"
        serial = self._database.rows(newest, uid, request_id)[0][0]
        if serial is not None:
            self._amended[serial] = answer

    @property
    def amended(self) -> int:
        """How many amended answers are not on disk yet."""
        return len(self._amended)

    def write_amended(self) -> None:
        """Write what `amend` replaced; `settle` once that is durable."""
        for serial, answer in self._amended.items():
            self._database.write("UPDATE answers SET answer = ? WHERE serial = ?", answer, serial)

    def settle(self) -> None:
        """What was amended is durable (or given up)."""
        self._amended.clear()

    def prune(self) -> None:
        """Remove answers past their time."""
        self._database.write("DELETE FROM answers WHERE answered_at < ?", time.time() - self._seconds)
