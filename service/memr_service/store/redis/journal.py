"""Records as streams in Redis, and the branches they lie on.

A branch is cut into segments, one stream each, so that no key grows without bound. An entry's id is its position. The
columns are in streams of their own, so that they can be read without the embeddings.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

from memr_client.errors import InternalError, Unavailable, UnknownRun

from memr_service.store.base import (
    AlreadyAnswered,
    Branch,
    Damage,
    Moved,
    NewResponse,
    StoredRecord,
    StoredRun,
    Tip,
)
from memr_service.store.lineage import Span
from memr_service.store.redis.backoff import Backoff
from memr_service.store.redis.responses import RedisResponses
from memr_service.store.redis.server import Server, Value, translated

SEGMENT_BYTES = 8 << 20
READ_BYTES = 1 << 20
"""Bytes read at once, about: a longer reply would hold up everybody else who asks this server."""
FULL = 1 << 50
"""Bytes in use of a segment after which the next record begins another."""

TIP = ("uid", "run_id", "config", "law", "encoder", "created_at", "base", "branch", "position", "chain", "segment")


class RedisJournal:
    """The records of all runs on a server, and what other processes have done to them (`Journal`, `Shared`)."""

    def __init__(self, server: Server, responses: RedisResponses, response_seconds: int, token: bytes) -> None:
        """`token` (16 bytes) is this process's own."""
        self.conflicts = 0
        """Commits that were refused because another process committed first."""
        self._server = server
        self._responses = responses
        self._response_seconds = response_seconds
        self._commit, self._branch = server.script("commit"), server.script("branch")
        self._backoff = Backoff(server, token)
        self._segments: dict[int, str] = {}  # uid -> the segment in use when this process last saw the run's tip

    def tip(self, uid: int) -> Tip:
        """The end of a run's journal now. A commit goes to the segment that was seen here or by the last commit.

        Raises:
            UnknownRun: the run was deleted.
        """
        with translated(self._server.where):
            fields: list[Any] = self._server.client.hmget(self._server.key(uid, "run"), TIP)
        if fields[0] is None:
            self._segments.pop(uid, None)
            raise UnknownRun(f"there is no run {uid} (was it deleted?).", value=uid)
        run_id, config, law, encoder, created_at, base, branch, position = (one.decode() for one in fields[1:9])
        run = StoredRun(uid, run_id, config, int(law), encoder or None, created_at, int(base))
        self._segments[uid] = fields[10].decode()
        return Tip(run, int(branch), int(position), fields[9])

    def commit(self, uid: int, record: StoredRecord, responses: Sequence[NewResponse] = ()) -> None:
        """Make a record and the responses to its request ids durable, all or nothing (see `Journal.commit`)."""
        self.append(uid, record, responses)
        self._responses.settle(uid)
        self._server.confirm(uid)

    def append(self, uid: int, record: StoredRecord, responses: Sequence[NewResponse]) -> None:
        """`commit`, without waiting for replicas.

        Raises:
            UnknownRun: no such run or branch.
            AlreadyAnswered: another record has answered one of the request ids.
            Moved: another process committed first, or holds the run's lease.
        """
        if uid not in self._segments:
            self.tip(uid)
        with translated(self._server.where):
            while True:
                code, *segment = self._commit(*self._call(uid, record, responses))
                if code != b"wait":
                    break
                self._backoff.wait()
        if code == b"ok":
            self._segments[uid] = segment[0].decode()
            self._backoff.won(uid)
            return
        branch, position = record.branch, record.position
        if code == b"gone":
            raise UnknownRun(f"there is no run {uid} with a branch {branch} (was it deleted?).", value=uid)
        if code == b"answered":
            raise AlreadyAnswered(f"record {position} answers a request that was answered before.", value=position)
        if code == b"kept":
            raise Moved(f"another process holds the barrier of run {uid}.", value=position)
        self.conflicts += 1
        tip = self.tip(uid)
        self._backoff.lost(uid)
        raise Moved(
            f"record {position} on branch {branch} does not follow record {tip.position} on branch {tip.branch}.",
            value=position,
            limit=tip.position + 1,
            remedy="Send the request again with the same request_id.",
        )

    def _call(self, uid: int, record: StoredRecord, responses: Sequence[NewResponse]) -> tuple[list[str], list[Value]]:
        """Keys and arguments of commit.lua."""
        amended = self._responses.amended(uid)
        used, own = f"{record.branch}:{self._segments[uid]}", f"{record.branch}:{record.position}"
        names = ["run", "turn", "keeper", "segments", f"log:{used}", f"columns:{used}", f"log:{own}", f"columns:{own}"]
        names += [f"answer:{one.request_id}" for one in responses]
        args: list[Value] = [
            *(os.urandom(16), record.branch, record.position, record.parent, record.chain, self._segments[uid]),
            *(record.payload, record.columns, self._backoff.token, SEGMENT_BYTES),
            *(self._response_seconds, len(responses)),
            *(part for one in responses for part in (one.body_digest, one.response)),
            *amended.responses,
        ]
        return [*(self._server.key(uid, name) for name in names), *amended.keys], args

    def records(self, uid: int, lineage: Sequence[Span]) -> Iterator[StoredRecord]:
        """Records along `lineage` (see `Journal.records`), about `READ_BYTES` at a time. Nothing is ever cut."""
        for branch, after, upto in lineage:
            for position, fields in self._entries(uid, "log", branch, after, upto):
                if position != after + 1:
                    raise Unavailable(
                        f"record {after + 1} (branch {branch}) of run {uid} is missing in {self._server.where}.",
                        value=after + 1,
                        remedy="Import the run from an export, or restore the server from a backup.",
                    )
                after = position
                yield StoredRecord(branch, position, fields[b"payload"], chain=fields[b"chain"])
            if after < upto:
                return  # the branch ends here, and so do all branches that left it later

    def columns(self, uid: int, lineage: Sequence[Span]) -> Iterator[bytes]:
        """The columns of the records along `lineage`, in order; payloads are not read."""
        for span in lineage:
            yield from (fields[b"columns"] for _, fields in self._entries(uid, "columns", *span))

    def last(self, uid: int, lineage: Sequence[Span]) -> StoredRecord | None:
        """The last record along `lineage`; None if there is none (see `Journal.last`)."""
        for branch, after, upto in reversed(lineage):
            for first in reversed([first for one, first in self.segments(uid) if one == branch and first <= upto]):
                with translated(self._server.where):
                    found: Any = self._server.client.xrevrange(
                        self._server.key(uid, f"log:{branch}:{first}"), f"{upto}-0", f"{after + 1}-0", 1
                    )
                for entry, fields in found:
                    position = int(entry.partition(b"-")[0])
                    return StoredRecord(branch, position, fields[b"payload"], chain=fields[b"chain"])
        return None

    def branches(self, uid: int) -> list[Branch]:
        """All branches of a run, the oldest first; the last is the current one."""
        with translated(self._server.where):
            listed: list[Any] = self._server.client.lrange(self._server.key(uid, "branches"), 0, -1)
        pairs = (one.decode().split(":") for one in listed)
        return [Branch(at, int(parent) if parent else None, int(start)) for at, (parent, start) in enumerate(pairs)]

    def add_branch(self, uid: int, parent: int, start: int) -> int:
        """Begin a branch that leaves `parent` after record `start`, and return its number."""
        last = [record.chain for record in self.records(uid, [(parent, start - 1, start)])] if start > 0 else []
        keys = [self._server.key(uid, name) for name in ("run", "branches")]
        with translated(self._server.where):
            number = int(self._branch(keys, [os.urandom(16), parent, start, *last, *[b""][len(last) :]]))
        if number < 0:
            raise InternalError(f"branch {parent} has no record {start} to leave it after.", value=start)
        self.tip(uid)
        self._server.confirm(uid)
        return number

    def size(self, uid: int) -> int:
        """Bytes of a run's records."""
        with translated(self._server.where):
            return int(self._server.client.hget(self._server.key(uid, "run"), "journal") or 0)

    def memory(self, uid: int) -> int:
        """Bytes of the server's memory that a run's records and columns take."""
        names = ["run", *(f"{kind}:{b}:{p}" for b, p in self.segments(uid) for kind in ("log", "columns"))]
        with translated(self._server.where):
            found = [self._server.client.memory_usage(self._server.key(uid, name)) for name in names]
        return sum(int(one or 0) for one in found)

    def trim(self, uid: int, spans: Sequence[Span], base: int) -> None:
        """Let the journal begin after `base`, and drop the segments that lie within a span as a whole.

        What is left of a span is dropped with its segment, by a later call.
        """
        with translated(self._server.where):
            self._server.client.hset(self._server.key(uid, "run"), "base", base)
        found = self.segments(uid)
        for (branch, first), (after_branch, beyond) in zip(found, [*found[1:], (-1, 0)], strict=True):
            last = beyond - 1 if after_branch == branch else 2**62
            if any(one == branch and after < first and last <= upto for one, after, upto in spans):
                self._drop(uid, branch, first)

    def damages(self) -> list[Damage]:
        """An empty list: nothing is cut here, since other processes may still read it."""
        return []

    def delete(self, uid: int) -> None:
        """Remove all records of a run."""
        with translated(self._server.where):
            for branch, first in self.segments(uid):
                self._server.client.unlink(*self._streams(uid, branch, first))

    def segments(self, uid: int) -> list[tuple[int, int]]:
        """(branch, first position) of all segments, branch by branch."""
        with translated(self._server.where):
            members: list[Any] = self._server.client.zrange(self._server.key(uid, "segments"), 0, -1)
        pairs = (member.decode().split(":") for member in members)
        return sorted((int(branch), int(first)) for branch, first in pairs)

    def _streams(self, uid: int, branch: int, first: int) -> tuple[str, str]:
        """Keys of a segment: its records, and their columns."""
        return self._server.key(uid, f"log:{branch}:{first}"), self._server.key(uid, f"columns:{branch}:{first}")

    def _drop(self, uid: int, branch: int, first: int) -> None:
        log, columns = self._streams(uid, branch, first)
        with translated(self._server.where):
            size = sum(len(fields[b"payload"]) for _, fields in self._read(log, first - 1, 2**62))
            self._server.client.unlink(log, columns)
            if self._server.client.zrem(self._server.key(uid, "segments"), f"{branch}:{first}"):
                self._server.client.hincrby(self._server.key(uid, "run"), "journal", -size)

    def _entries(
        self, uid: int, kind: str, branch: int, after: int, upto: int
    ) -> Iterator[tuple[int, dict[bytes, bytes]]]:
        """Entries of a branch's streams, including those that are added meanwhile."""
        while after < upto:
            firsts = [first for one, first in self.segments(uid) if one == branch and first <= upto]
            holding = [first for first in firsts if first <= after + 1][-1:]
            begun = after
            for first in [*holding, *(first for first in firsts if first > after + 1)]:
                for position, fields in self._read(self._server.key(uid, f"{kind}:{branch}:{first}"), after, upto):
                    yield position, fields
                    after = position
            if after == begun:
                return

    def _read(self, key: str, after: int, upto: int) -> Iterator[tuple[int, dict[bytes, bytes]]]:
        """Entries of one stream, about `READ_BYTES` at a time."""
        count = 1
        while after < upto:
            with translated(self._server.where):
                found: Any = self._server.client.xrange(key, f"{after + 1}-0", f"{upto}-0", count)
            for entry, fields in found:
                after = int(entry.partition(b"-")[0])
                yield after, fields
            if len(found) < count:
                return
            size = sum(len(value) for _, fields in found for value in fields.values())
            count = min(max(1, READ_BYTES * len(found) // max(size, 1)), 1000)
