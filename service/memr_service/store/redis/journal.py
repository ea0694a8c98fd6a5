"""Records as streams in Redis: one for each segment of a branch, so that no key grows without bound.

An entry's id is its position. The columns are streams of their own beside them, to be read without the embeddings.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from memr_client.errors import Unavailable, UnknownRun

from memr_service.store.base import AlreadyAnswered, Moved, NewResponse, StoredRecord, StoredRun, Tip
from memr_service.store.redis.backoff import Backoff
from memr_service.store.redis.server import Server, Value, translated

SEGMENT_BYTES = 8 << 20
READ_BYTES = 1 << 20  # a longer answer would hold up everybody else who asks this server
FULL = 1 << 50
"""Bytes in use where the next record is to begin a segment."""

TIP = ("uid", "run_id", "config", "law", "encoder", "created_at", "base", "branch", "position", "chain", "segment")


@dataclass(frozen=True)
class Amendments:
    """Answers that wait to be put in place of those committed, by the keys of these."""

    keys: Sequence[str]
    answers: Sequence[bytes]


class Journal:
    """The records of all runs on a server."""

    def __init__(self, server: Server, answer_seconds: int, token: bytes) -> None:
        """`token` (16 bytes) tells this process from all others."""
        self.conflicts = 0
        """Commits that were refused because another process had come first."""
        self._server = server
        self._answer_seconds = answer_seconds
        self._script = server.script("commit")
        self._turns = Backoff(server, token)
        self._segments: dict[int, str] = {}  # uid -> what was in use when its tip was last seen

    def tip(self, uid: int) -> Tip:
        """Where a run stands. A record is committed only to the segment that was seen here or by the last commit.

        Raises:
            UnknownRun: it was deleted.
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

    def append(self, uid: int, record: StoredRecord, answers: Sequence[NewResponse], amended: Amendments) -> None:
        """Commit a record and its answers.

        Raises:
            UnknownRun: no such run or branch. Answered: one of its requests was answered by another record.
            Moved: another record came first, or another process keeps the run's barrier.
        """
        if uid not in self._segments:
            self.tip(uid)
        with translated(self._server.where):
            while True:
                code, *segment = self._script(*self._call(uid, record, answers, amended))
                if code != b"wait":
                    break
                self._turns.wait()
        if code == b"ok":
            self._segments[uid] = segment[0].decode()
            self._turns.won(uid)
            return
        branch, position = record.branch, record.position
        if code == b"gone":
            raise UnknownRun(f"there is no run {uid} with a branch {branch} (was it deleted?).", value=uid)
        if code == b"answered":
            raise AlreadyAnswered(f"record {position} answers a request that was answered before.", value=position)
        if code == b"kept":
            raise Moved(f"another process keeps the barrier of run {uid}.", value=position)
        self.conflicts += 1
        tip = self.tip(uid)
        self._turns.lost(uid)
        raise Moved(
            f"record {position} on branch {branch} does not follow record {tip.position} on branch {tip.branch}.",
            value=position,
            limit=tip.position + 1,
            remedy="Send the request again with the same request_id.",
        )

    def _call(
        self, uid: int, record: StoredRecord, answers: Sequence[NewResponse], amended: Amendments
    ) -> tuple[list[str], list[Value]]:
        """Keys and args of the script."""
        used, own = f"{record.branch}:{self._segments[uid]}", f"{record.branch}:{record.position}"
        names = ["run", "turn", "keeper", "segments", f"log:{used}", f"columns:{used}", f"log:{own}", f"columns:{own}"]
        names += [f"answer:{one.request_id}" for one in answers]
        args: list[Value] = [
            *(os.urandom(16), record.branch, record.position, record.parent, record.chain, self._segments[uid]),
            *(record.payload, record.columns, self._turns.token, SEGMENT_BYTES, self._answer_seconds, len(answers)),
            *(part for one in answers for part in (one.body_digest, one.answer)),
            *amended.answers,
        ]
        return [*(self._server.key(uid, name) for name in names), *amended.keys], args

    def read(self, uid: int, lineage: Sequence[tuple[int, int, int]]) -> Iterator[StoredRecord]:
        """Records along `lineage` (see `Store.records`), about `READ_BYTES` at a time."""
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
                return  # the branch ends here, and with it whatever left it later

    def columns(self, uid: int, lineage: Sequence[tuple[int, int, int]]) -> Iterator[bytes]:
        """The columns of the records along `lineage`."""
        for span in lineage:
            yield from (fields[b"columns"] for _, fields in self._entries(uid, "columns", *span))

    def segments(self, uid: int) -> list[tuple[int, int]]:
        """(branch, first position) of all segments, branch by branch."""
        with translated(self._server.where):
            members: list[Any] = self._server.client.zrange(self._server.key(uid, "segments"), 0, -1)
        pairs = (member.decode().split(":") for member in members)
        return sorted((int(branch), int(first)) for branch, first in pairs)

    def trim(self, uid: int, spans: Sequence[tuple[int, int, int]]) -> None:
        """Drop the segments that lie within a span whole; what is left of a span goes with its segment, later."""
        found = self.segments(uid)
        for (branch, first), (after_branch, beyond) in zip(found, [*found[1:], (-1, 0)], strict=True):
            last = beyond - 1 if after_branch == branch else 2**62
            if any(one == branch and after < first and last <= upto for one, after, upto in spans):
                self._drop(uid, branch, first)

    def _drop(self, uid: int, branch: int, first: int) -> None:
        log, columns = (self._server.key(uid, f"{kind}:{branch}:{first}") for kind in ("log", "columns"))
        with translated(self._server.where):
            size = sum(len(fields[b"payload"]) for _, fields in self._pieces(log, first - 1, 2**62))
            self._server.client.unlink(log, columns)
            if self._server.client.zrem(self._server.key(uid, "segments"), f"{branch}:{first}"):
                self._server.client.hincrby(self._server.key(uid, "run"), "journal", -size)

    def _entries(
        self, uid: int, kind: str, branch: int, after: int, upto: int
    ) -> Iterator[tuple[int, dict[bytes, bytes]]]:
        """Entries of a branch's streams, those that are added meanwhile included."""
        while after < upto:
            firsts = [first for one, first in self.segments(uid) if one == branch and first <= upto]
            holding = [first for first in firsts if first <= after + 1][-1:]
            begun = after
            for first in [*holding, *(first for first in firsts if first > after + 1)]:
                for position, fields in self._pieces(self._server.key(uid, f"{kind}:{branch}:{first}"), after, upto):
                    yield position, fields
                    after = position
            if after == begun:
                return

    def _pieces(self, key: str, after: int, upto: int) -> Iterator[tuple[int, dict[bytes, bytes]]]:
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
