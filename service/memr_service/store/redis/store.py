"""The `Store` that several processes share."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Sequence, Set
from pathlib import Path
from typing import Any

import msgpack
from memr_client.errors import Conflict, InternalError, ProblemError, StoreFull, Unavailable, UnknownRun

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
from memr_service.store.redis.index_files import IndexFiles
from memr_service.store.redis.journal import FULL, Journal
from memr_service.store.redis.leases import Leases
from memr_service.store.redis.responses import Responses
from memr_service.store.redis.server import Server, translated
from memr_service.store.redis.snapshots import Snapshots

DOOMED_AFTER_S = 3600.0
"""How long the making or removal of a run may take at most; what is left of it after that is a crash's."""


class RedisStore:
    """A `Store` on the server that `url` names (see `Server`); answers are kept for `answer_hours`."""

    def __init__(self, url: str, answer_hours: float = 48) -> None:
        self._server = Server(url)
        self.url = self._server.where
        self.directory: Path | None = None
        self.shared = True
        token = os.urandom(16)
        self._journal = Journal(self._server, int(answer_hours * 3600), token)
        self._keepers = Leases(self._server, token)
        self._answers = Responses(self._server)
        self._snapshots = Snapshots(self._server)
        self._indices = IndexFiles(self._server)
        self._branch, self._replace = self._server.script("branch"), self._server.script("replace")
        self._names, self._doomed = (f"{self._server.prefix}:{name}" for name in ("runs", "doomed"))
        self._sweep()

    @property
    def conflicts(self) -> int:
        """Commits that were refused because another process had come first."""
        return self._journal.conflicts

    def create(self, run_id: str, config: str, law: int, encoder: str | None, created_at: str) -> StoredRun:
        """Make a run and its first branch durable. `Conflict` if the name is taken."""
        return self.restore(run_id, config, law, encoder, created_at, [])

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
        """Make a run with all its records durable. It has its name last, so that nobody sees half of it."""
        if self.find(run_id) is not None:
            raise _taken(run_id)
        uid = self._begin(run_id, config, law, encoder, created_at, 0 if base is None else base.position)
        try:
            if base is not None:
                self._snapshots.save(uid, base)
            for record, answers in records:
                self._journal.append(uid, record, answers, self._answers.amended(uid))
            run = self.tip(uid).run
            self._server.confirm(uid)
            with translated(self.url):
                self._server.client.hsetnx(self._names, run_id, uid)
                if self._uid(run_id) != uid:  # another process was faster
                    raise _taken(run_id)
                self._server.client.zrem(self._doomed, uid)
        except BaseException:
            self._remove(uid)
            raise
        return run

    def replace(self, uid: int, config: str, encoder: str | None) -> None:
        """Give a run another config. `Conflict` once it has a record."""
        with translated(self.url):
            keys = [self._server.key(uid, name) for name in ("run", "segments")]
            if not self._replace(keys, [config, encoder or ""]):
                raise Conflict("the run's first record has frozen its config.", remedy="Create another run.")
        self.tip(uid)

    def find(self, run_id: str) -> StoredRun | None:
        """The run of that name."""
        uid = self._uid(run_id)
        try:
            return None if uid is None else self.tip(uid).run
        except UnknownRun:
            return None  # deleted in between

    def runs(self) -> list[StoredRun]:
        """All runs, by name."""
        with translated(self.url):
            names: list[Any] = self._server.client.hkeys(self._names)
        found = (self.find(name.decode()) for name in sorted(names))
        return [run for run in found if run is not None]

    def delete(self, uid: int) -> None:
        """Remove a run with all it has; answers to its request ids, which nobody finds any more, expire."""
        with translated(self.url):
            run_id = self._server.client.hget(self._server.key(uid, "run"), "run_id")
            self._server.client.zadd(self._doomed, {str(uid): time.time()})
            if run_id is not None and self._uid(run_id) == uid:
                self._server.client.hdel(self._names, run_id)
        self._remove(uid)

    def commit(self, uid: int, record: StoredRecord, answers: Sequence[NewResponse] = ()) -> None:
        """Make one record, and the answers to its request ids, durable, all or nothing (see `Store.commit`)."""
        self._journal.append(uid, record, answers, self._answers.amended(uid))
        self._answers.settle(uid)
        self._server.confirm(uid)

    def tidy(self) -> None:
        """Nothing makes a commit slow that could be done before."""

    def tip(self, uid: int) -> Tip:
        """Where a run stands now. `UnknownRun` where it was deleted."""
        return self._journal.tip(uid)

    def amend_answer(self, uid: int, request_id: str, answer: bytes) -> None:
        """Replace the latest answer to a request id: here at once, on the server with the run's next commit."""
        self._answers.amend(uid, request_id, answer)

    def answers(self, uid: int, request_id: str) -> list[StoredResponse]:
        """The answers given to a request id, on any branch, the oldest first."""
        found = self._answers.find(uid, request_id)
        if found:
            self._server.confirm(uid)  # whoever first waited for its replicas may have waited in vain
        return found

    def branches(self, uid: int) -> list[Branch]:
        """All branches of a run, the first first; the last is the current one."""
        with translated(self.url):
            listed: list[Any] = self._server.client.lrange(self._server.key(uid, "branches"), 0, -1)
        pairs = (one.decode().split(":") for one in listed)
        return [Branch(at, int(parent) if parent else None, int(start)) for at, (parent, start) in enumerate(pairs)]

    def add_branch(self, uid: int, parent: int, start: int) -> int:
        """Begin a branch that leaves `parent` after record `start`; its number."""
        last = [record.chain for record in self._journal.read(uid, [(parent, start - 1, start)])] if start > 0 else []
        keys = [self._server.key(uid, name) for name in ("run", "branches")]
        with translated(self.url):
            number = int(self._branch(keys, [os.urandom(16), parent, start, *last, *[b""][len(last) :]]))
        if number < 0:
            raise InternalError(f"branch {parent} has no record {start} to leave it after.", value=start)
        self.tip(uid)
        self._server.confirm(uid)
        return number

    def set_checkpoint(self, uid: int, checkpoint: StoredCheckpoint) -> None:
        """Name a position; a name that exists moves."""
        fields = [checkpoint.branch, checkpoint.position, checkpoint.step, checkpoint.created_at]
        with translated(self.url):
            order = self._server.client.hincrby(self._server.key(uid, "run"), "checkpoints", 1)
            packed = msgpack.packb([order, *fields])
            self._server.client.hset(self._server.key(uid, "checkpoints"), checkpoint.name, packed)
        self._server.confirm(uid)

    def checkpoints(self, uid: int) -> list[StoredCheckpoint]:
        """All checkpoints, the oldest first."""
        with translated(self.url):
            listed: Any = self._server.client.hgetall(self._server.key(uid, "checkpoints"))
        ordered = sorted((msgpack.unpackb(packed), name.decode()) for name, packed in listed.items())
        return [StoredCheckpoint(name, *fields) for (_, *fields), name in ordered]

    def delete_checkpoint(self, uid: int, name: str) -> bool:
        """Remove a checkpoint; False where there is none of that name. The history it named stays."""
        with translated(self.url):
            return bool(self._server.client.hdel(self._server.key(uid, "checkpoints"), name))

    def records(self, uid: int, lineage: Sequence[tuple[int, int, int]]) -> Iterator[StoredRecord]:
        """Records along `lineage`: of each (branch, after, upto) those with after < position <= upto."""
        return self._journal.read(uid, lineage)

    def columns(self, uid: int, lineage: Sequence[tuple[int, int, int]]) -> Iterator[bytes]:
        """The columns of the records along `lineage`; the payloads are not read."""
        return self._journal.columns(uid, lineage)

    def damages(self) -> list[Damage]:
        """None: nothing is cut here, for others may still read it."""
        return []

    def save_snapshot(self, uid: int, snapshot: Snapshot) -> None:
        """Keep a snapshot (and the one before it), from any thread."""
        self._snapshots.save(uid, snapshot)

    def snapshots(self, uid: int) -> list[tuple[int, int]]:
        """(branch, position) of the snapshots kept, newest first."""
        return self._snapshots.kept(uid)

    def load_snapshot(self, uid: int, branch: int, position: int) -> Snapshot | None:
        """A snapshot, or None when it is damaged or gone."""
        return self._snapshots.load(uid, branch, position)

    def index_file(self, uid: int, name: str) -> Path | None:
        """A copy of an index's file, if there is one; it will vanish with this process."""
        return self._indices.file(uid, name)

    def keep_index(self, uid: int, file: Path) -> None:
        """Let other processes have an index that was written to a file and those beside it, from any thread."""
        self._indices.keep(uid, file)

    def sweep_indices(self, uid: int, used: Set[str]) -> None:
        """Remove all but those that are used, by the stems of their files."""
        self._indices.sweep(uid, used)

    def journal_bytes(self, uid: int) -> int:
        """Bytes of a run's records."""
        with translated(self.url):
            return int(self._server.client.hget(self._server.key(uid, "run"), "journal") or 0)

    def trim(self, uid: int, spans: Sequence[tuple[int, int, int]], base: int) -> None:
        """Let the journal begin behind `base`, and drop what lies before it, in whole segments."""
        with translated(self.url):
            self._server.client.hset(self._server.key(uid, "run"), "base", base)
        self._journal.trim(uid, spans)

    def keep(self, uid: int, address: str) -> str | None:
        """Keep a run's barrier for `KEEP_S`, or learn the address of the process that does."""
        return self._keepers.keep(uid, address)

    def keeper(self, uid: int) -> str | None:
        """The address of another process that keeps a run's barrier, if one does."""
        return self._keepers.find(uid)

    def release(self, uid: int) -> None:
        """Let another process keep a run's barrier."""
        self._keepers.release(uid)

    def size(self) -> int:
        """Bytes of memory that the runs take, but for answers."""
        return sum(self._size(run.uid) for run in self.runs())

    def check(self) -> None:
        """Raise `Unavailable` unless the server takes a write now."""
        try:
            with translated(self.url):
                self._server.client.set(f"{self._server.prefix}:check", 1, px=1000)
        except StoreFull as full:
            raise Unavailable(full.detail, value=full.value, remedy=full.remedy) from full

    def close(self) -> None:
        """Write what is pending and hang up."""
        try:
            self._answers.write_amended()
        except ProblemError:  # what was committed stays, which lacks only the time the commit took
            pass
        finally:
            self._indices.close()
            self._server.close()

    def _uid(self, run_id: str | bytes) -> int | None:
        with translated(self.url):
            uid = self._server.client.hget(self._names, run_id)
        return None if uid is None else int(uid)

    def _begin(self, run_id: str, config: str, law: int, encoder: str | None, created_at: str, base: int) -> int:
        """A run that has no name yet."""
        with translated(self.url):
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
        """Remove what there is of a run, its tip first: from then on nobody can add to it."""
        with translated(self.url):
            client = self._server.client
            client.unlink(self._server.key(uid, "run"))
            for branch, first in self._journal.segments(uid):
                client.unlink(*(self._server.key(uid, f"{kind}:{branch}:{first}") for kind in ("log", "columns")))
            self._snapshots.delete(uid)
            self._indices.delete(uid)
            names = ("branches", "segments", "snapshots", "graphs", "saving", "checkpoints", "turn", "keeper")
            client.unlink(*(self._server.key(uid, name) for name in names))
            client.zrem(self._doomed, uid)

    def _sweep(self) -> None:
        """Remove what a crash left of runs that were being made or removed."""
        with translated(self.url):
            left: list[Any] = self._server.client.zrangebyscore(self._doomed, 0, time.time() - DOOMED_AFTER_S)
        for uid in left:
            self._remove(int(uid))

    def _size(self, uid: int) -> int:
        names = ["run", *(f"{kind}:{b}:{p}" for b, p in self._journal.segments(uid) for kind in ("log", "columns"))]
        with translated(self.url):
            found = [self._server.client.memory_usage(self._server.key(uid, name)) for name in names]
        return sum(int(one or 0) for one in found) + self._snapshots.size(uid) + self._indices.size(uid)


def _taken(run_id: str) -> Conflict:
    return Conflict(f"there is a run {run_id!r} already.", value=run_id, remedy="Choose another name.")
