"""The `Store` that several processes share."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from memr_client.errors import ProblemError, StoreFull, Unavailable

from memr_service.store.redis.checkpoints import RedisCheckpoints
from memr_service.store.redis.index_files import RedisIndexFiles
from memr_service.store.redis.journal import RedisJournal
from memr_service.store.redis.leases import RedisLeases
from memr_service.store.redis.responses import RedisResponses
from memr_service.store.redis.runs import RedisRuns
from memr_service.store.redis.server import Server, translated
from memr_service.store.redis.snapshots import RedisSnapshots


class RedisStore:
    """A `Store` on the server at `url` (see `Server`). Responses to request ids are kept for `response_hours`."""

    def __init__(self, url: str, response_hours: float = 48) -> None:
        self._server = server = Server(url)
        self.url = server.where
        self.directory: Path | None = None
        token = os.urandom(16)
        self.responses = RedisResponses(server)
        self.journal = RedisJournal(server, self.responses, int(response_hours * 3600), token)
        self.checkpoints = RedisCheckpoints(server)
        self.snapshots = RedisSnapshots(server)
        self.index_files = RedisIndexFiles(server)
        self.shared = self.journal
        self.transactions = None
        self.leases = RedisLeases(server, token)
        self.runs = RedisRuns(server, self.journal, self.snapshots, self.index_files)

    def tidy(self) -> None:
        """Do nothing: there is no work that could be done before a commit."""

    def size(self) -> int:
        """Bytes of memory that the runs take, without the responses."""
        parts = (self.journal.memory, self.snapshots.size, self.index_files.size)
        return sum(size(run.uid) for run in self.runs.all() for size in parts)

    def check(self) -> None:
        """Raise `Unavailable` unless the server takes a write now."""
        try:
            with translated(self.url):
                self._server.client.set(f"{self._server.prefix}:check", 1, px=1000)
        except StoreFull as full:
            raise Unavailable(full.detail, value=full.value, remedy=full.remedy) from full

    def close(self) -> None:
        """Write what is pending and close the connections."""
        try:
            with suppress(ProblemError):  # the committed responses stay; they lack only the time that the commit took
                self.responses.write_amended()
        finally:
            self.index_files.close()
            self._server.close()
