"""Runs by name: made, found and removed with everything they have."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterable, Sequence
from contextlib import suppress
from typing import Any

from memr_client.errors import Conflict, StoreFull, UnknownRun

from memr_service.store.base import NewResponse, Snapshot, StoredRecord, StoredRun, restored
from memr_service.store.redis.index_files import RedisIndexFiles
from memr_service.store.redis.journal import FULL, RedisJournal
from memr_service.store.redis.server import Server, translated
from memr_service.store.redis.snapshots import RedisSnapshots

DOOMED_AFTER_S = 3600.0
"""Seconds that making or removing a run may take. What is left of the run after that was left by a crash."""


class RedisRuns:
    """The runs on a server."""

    def __init__(
        self, server: Server, journal: RedisJournal, snapshots: RedisSnapshots, index_files: RedisIndexFiles
    ) -> None:
        self._server = server
        self._journal = journal
        self._snapshots = snapshots
        self._index_files = index_files
        self._replace = server.script("replace")
        self._names, self._doomed = (f"{server.prefix}:{name}" for name in ("runs", "doomed"))
        self._sweep()

    def create(self, run_id: str, config: str, law: int, encoder: str | None, created_at: str) -> StoredRun:
        """Make a run and its first branch durable. `Conflict` if the name is taken."""
        return restored(self.restore(run_id, config, law, encoder, created_at, []))

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
        if self.find(run_id) is not None:
            raise _taken(run_id)
        uid = self._begin(run_id, config, law, encoder, created_at, 0 if base is None else base.position)
        try:
            if base is not None:
                self._snapshots.save(uid, base)
            for record, responses in records:
                self._journal.append(uid, record, responses)
                yield None
            run = self._journal.tip(uid).run
            self._server.confirm(uid)
            with translated(self._server.where):
                self._server.client.hsetnx(self._names, run_id, uid)
                if self._uid(run_id) != uid:  # another process was faster
                    raise _taken(run_id)
                self._server.client.zrem(self._doomed, uid)
        except BaseException:
            self._remove(uid)
            raise
        yield run

    def replace(self, uid: int, config: str, encoder: str | None) -> None:
        """Give a run another config. `Conflict` once it has a record."""
        with translated(self._server.where):
            keys = [self._server.key(uid, name) for name in ("run", "segments")]
            if not self._replace(keys, [config, encoder or ""]):
                raise Conflict("the run's first record has frozen its config.", remedy="Create another run.")
        self._journal.tip(uid)

    def find(self, run_id: str) -> StoredRun | None:
        """The run of that name."""
        uid = self._uid(run_id)
        try:
            return None if uid is None else self._journal.tip(uid).run
        except UnknownRun:
            return None  # deleted in between

    def all(self) -> list[StoredRun]:
        """All runs, by name."""
        with translated(self._server.where):
            names: list[Any] = self._server.client.hkeys(self._names)
        found = (self.find(name.decode()) for name in sorted(names))
        return [run for run in found if run is not None]

    def delete(self, uid: int) -> None:
        """Remove a run with everything it has, except the responses: they cannot be found any more, and expire."""
        with translated(self._server.where):
            run_id = self._server.client.hget(self._server.key(uid, "run"), "run_id")
            with suppress(StoreFull), translated(self._server.where):  # a full server still takes what frees memory
                self._server.client.zadd(self._doomed, {str(uid): time.time()})
            if run_id is not None and self._uid(run_id) == uid:
                self._server.client.hdel(self._names, run_id)
        self._remove(uid)

    def reclaim(self) -> bool:
        """Nothing is left to do: the server's memory is free."""
        return False

    def _uid(self, run_id: str | bytes) -> int | None:
        with translated(self._server.where):
            uid = self._server.client.hget(self._names, run_id)
        return None if uid is None else int(uid)

    def _begin(self, run_id: str, config: str, law: int, encoder: str | None, created_at: str, base: int) -> int:
        """A run that has no name yet."""
        with translated(self._server.where):
            uid = int(self._server.client.incr(f"{self._server.prefix}:uid"))
            self._server.client.zadd(self._doomed, {str(uid): time.time()})
            fields: dict[Any, Any] = {
                **{"uid": uid, "run_id": run_id, "config": config, "law": law, "encoder": encoder or ""},
                **{"created_at": created_at, "base": base, "branch": 0, "position": base, "chain": b""},
                **{"segment": "-", "bytes": FULL, "journal": 0},
            }
            self._server.client.hset(self._server.key(uid, "run"), mapping=fields)
            self._server.client.rpush(self._server.key(uid, "branches"), f":{base}")
        return uid

    def _remove(self, uid: int) -> None:
        """Remove everything of a run, its tip first: from then on nobody can add to it."""
        with translated(self._server.where):
            client = self._server.client
            client.unlink(self._server.key(uid, "run"))
            self._journal.delete(uid)
            self._snapshots.delete(uid)
            self._index_files.delete(uid)
            names = ("branches", "segments", "snapshots", "graphs", "saving", "checkpoints", "turn", "keeper")
            client.unlink(*(self._server.key(uid, name) for name in names))
            client.zrem(self._doomed, uid)

    def _sweep(self) -> None:
        """Remove what a crash left of runs that were being made or removed."""
        with translated(self._server.where):
            left: list[Any] = self._server.client.zrangebyscore(self._doomed, 0, time.time() - DOOMED_AFTER_S)
        for uid in left:
            self._remove(int(uid))


def _taken(run_id: str) -> Conflict:
    return Conflict(f"there is a run {run_id!r} already.", value=run_id, remedy="Choose another name.")
