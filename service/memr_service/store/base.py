"""What a store promises. It keeps bytes and hands them back; it knows nothing of memories or rewards.

A run is a sequence of records. Record `position` p (1, 2, ...) on branch b follows p - 1 on the same branch or, for a
branch's first record, on the branch it left. A store may lose nothing that `commit` returned from, and may show
nothing that it did not.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from memr_client.errors import InternalError

KEEP_S = 5.0
"""How long a barrier is kept unless its keeper says again that it does: the others wait so long when it has died."""


@dataclass(frozen=True)
class StoredRun:
    """A run as it was created."""

    uid: int
    """The store's own number for it; never used again, so that a deleted run's name can be."""
    run_id: str
    config: str
    """The resolved `RunConfig` as JSON."""
    law: int
    encoder: str | None
    """The encoder's fingerprint as JSON."""
    created_at: str
    """UTC, ISO 8601."""
    base: int = 0
    """Records up to this position were dropped; the snapshot taken there stands for them. 0: the journal is whole."""


@dataclass(frozen=True)
class StoredRecord:
    """One record of a run's journal."""

    branch: int
    position: int
    payload: bytes
    columns: bytes = b""
    """A few of the record's columns, to be read without the rest (`memr_service.run.history`)."""
    parent: bytes = b""
    """The chain of the record before it."""
    chain: bytes = b""
    """Its own: records with equal chains leave equal states. Only a store that others write to has use for it."""


@dataclass(frozen=True)
class NewResponse:
    """What one request id is answered with."""

    request_id: str
    body_digest: bytes
    answer: bytes


@dataclass(frozen=True)
class StoredResponse:
    """What a request id was answered with."""

    branch: int
    position: int
    body_digest: bytes
    answer: bytes


@dataclass(frozen=True)
class Branch:
    """A line of a run's history: it left `parent` after record `start` (branch 0 has no parent and starts at 0)."""

    branch: int
    parent: int | None
    start: int


@dataclass(frozen=True)
class StoredCheckpoint:
    """A name for a position of a run's history."""

    name: str
    branch: int
    position: int
    step: int | None
    created_at: str


@dataclass(frozen=True)
class Snapshot:
    """A run's whole state after record (`branch`, `position`), as named arrays."""

    branch: int
    position: int
    arrays: dict[str, np.ndarray]


@dataclass(frozen=True)
class Tip:
    """Where a run stands in a store that other processes write to."""

    run: StoredRun
    branch: int
    """The current one."""
    position: int
    chain: bytes
    """Of the last record; empty where there is none, or where a branch has just begun."""


class Moved(InternalError):
    """A record does not follow its run's last one: another process came first."""


class AlreadyAnswered(Moved):
    """A record answers a request id that has its answer on this branch."""


@dataclass(frozen=True)
class Damage:
    """Records that were cut because the first of them does not match its checksum."""

    run_id: str
    branch: int
    position: int
    """The first record that was cut."""
    records: int
    """How many were cut."""
    reason: str


class Store(Protocol):
    """Keeps runs, their records, answers and snapshots.

    Called from one thread at a time, but for `save_snapshot`, `keep`, `keeper` and `release`.
    """

    url: str
    directory: Path | None
    """Where files may be kept beside the store; None where there is no such place."""
    shared: bool
    """Whether other processes may write to the same runs."""

    @property
    def conflicts(self) -> int:
        """Commits that were refused because another process had come first."""

    def create(self, run_id: str, config: str, law: int, encoder: str | None, created_at: str) -> StoredRun:
        """Make a run durable. `Conflict` if the name is taken."""

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
        """Make a run with all its records durable, all or nothing.

        Args:
            base: the state on branch 0 that the records follow; None where they begin at 1.
            records: on branch 0 and in order, each with its answers, as for `commit`.

        Raises:
            Conflict: the name is taken. StoreFull, Unavailable: as `commit`. Whatever `records` raises.
        """

    def replace(self, uid: int, config: str, encoder: str | None) -> None:
        """Give a run another config (only before its first record)."""

    def find(self, run_id: str) -> StoredRun | None:
        """The run of that name."""

    def runs(self) -> list[StoredRun]:
        """All runs, by name."""

    def delete(self, uid: int) -> None:
        """Remove a run with everything it has."""

    def commit(self, uid: int, record: StoredRecord, answers: Sequence[NewResponse] = ()) -> None:
        """Make one record, and the answers to its request ids, durable, all or nothing.

        Raises:
            Moved: the record does not follow the run's last one, another process keeps the run's barrier, or (Answered)
                it answers what was answered before.
            UnknownRun: no such run or branch. StoreFull: no room. Nothing was written in any of these.
            Unavailable: any other failure. Nothing was written; but where the store is another process it may have
                been: then `tip` tells, and a retry finds its answer.
        """

    def tidy(self) -> None:
        """Do what would make a later commit slow; called when nobody waits, and never relied upon."""

    def tip(self, uid: int) -> Tip | None:
        """Where a run stands now; None where nobody else can have moved it. `UnknownRun` where it was deleted."""

    def amend_answer(self, uid: int, request_id: str, answer: bytes) -> None:
        """Put the final answer (with its commit time) in place of the one committed; may be made durable later."""

    def answers(self, uid: int, request_id: str) -> list[StoredResponse]:
        """The answers given to a request id, on any branch."""

    def branches(self, uid: int) -> list[Branch]:
        """All branches of a run, the first first; the last is the current one."""

    def add_branch(self, uid: int, parent: int, start: int) -> int:
        """Begin a branch that leaves `parent` after record `start`, and is the current one from now on; its number."""

    def set_checkpoint(self, uid: int, checkpoint: StoredCheckpoint) -> None:
        """Name a position; a name that exists moves."""

    def checkpoints(self, uid: int) -> list[StoredCheckpoint]:
        """All checkpoints, the oldest first."""

    def delete_checkpoint(self, uid: int, name: str) -> bool:
        """Remove a checkpoint; False where there is none of that name. The history it named stays."""

    def records(self, uid: int, lineage: Sequence[tuple[int, int, int]]) -> Iterator[StoredRecord]:
        """Records along `lineage`: for each (branch, after, upto) those with after < position <= upto, in order.

        A record that fails its checksum ends the iteration: it and all that follow on its branch are moved aside, and
        `damages` tells.

        Raises:
            Unavailable: the store cannot be read; or a record is damaged, but the run's state is known beyond it (by a
                snapshot, or by commits since the store was opened): then nothing is moved, as that would lose more.
        """

    def columns(self, uid: int, lineage: Sequence[tuple[int, int, int]]) -> Iterator[bytes]:
        """The columns of the records along `lineage`, in order, as they were committed."""

    def damages(self) -> list[Damage]:
        """What was cut since this store was opened."""

    def save_snapshot(self, uid: int, snapshot: Snapshot) -> None:
        """Keep a snapshot (and the one before it). From a background thread; a crash in it leaves the old ones."""

    def snapshots(self, uid: int) -> list[tuple[int, int]]:
        """(branch, position) of the snapshots kept, newest first."""

    def load_snapshot(self, uid: int, branch: int, position: int) -> Snapshot | None:
        """A snapshot, or None when it is damaged."""

    def index_file(self, uid: int, name: str) -> Path | None:
        """Where an index of that name is, or is to be written; None where there is no such place. From any thread."""

    def keep_index(self, uid: int, file: Path) -> None:
        """An index has been written to a file, and those of its stem beside it. From any thread."""

    def sweep_indices(self, uid: int, used: Set[str]) -> None:
        """Remove the indices of a run but those that are used, by the stems of their files."""

    def journal_bytes(self, uid: int) -> int:
        """Bytes of a run's records."""

    def trim(self, uid: int, spans: Sequence[tuple[int, int, int]], base: int) -> None:
        """Drop the records of `spans`, each (branch, after, upto); from now on the journal begins behind `base`.

        The snapshot taken at `base` is kept until the next trim.
        """

    def keep(self, uid: int, address: str) -> str | None:
        """Keep a run's barrier for `KEEP_S`, at the address where others find this process; then only it commits.

        Returns:
            None; or, where another process keeps it, the address of that.
        """

    def keeper(self, uid: int) -> str | None:
        """The address of another process that keeps a run's barrier, if one does."""

    def release(self, uid: int) -> None:
        """Let another process keep a run's barrier."""

    def size(self) -> int:
        """Bytes on disk (or in memory)."""

    def check(self) -> None:
        """Raise `Unavailable` unless the store can be written to now (for readiness)."""

    def close(self) -> None:
        """Write what is pending and give the store back."""
