"""What a store can do, one protocol for each capability. Callers ask for those that they need.

A store keeps bytes and gives them back; it knows nothing of memories or rewards. It never loses what `Journal.commit`
returned from, and never shows what was not committed.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence, Set
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

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
from memr_service.store.lineage import Span

LEASE_S = 5.0
"""A lease that is not renewed ends after so many seconds; after a crash the others wait this long."""


class Runs(Protocol):
    """The runs of a store, by name."""

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
    ) -> Generator[StoredRun | None, None, None]:
        """Make a run with all its records durable, all or nothing; a part each time that the iterator is advanced.

        Between two parts the store may be used as usual; nobody finds the run. It gets its name last: then it is
        yielded, and None before. If the iterator is closed earlier, nothing is left.

        Args:
            records: on branch 0 and in order, each with its responses, as for `Journal.commit`.
            base: the state on branch 0 that the records follow; None where they begin at 1.

        Raises:
            Conflict: the name is taken. StoreFull, Unavailable: as in `Journal.commit`. Whatever `records` raises.
        """

    def replace(self, uid: int, config: str, encoder: str | None) -> None:
        """Give a run another config. `Conflict` once it has a record."""

    def find(self, run_id: str) -> StoredRun | None:
        """The run of that name."""

    def all(self) -> list[StoredRun]:
        """All runs, by name."""

    def delete(self, uid: int) -> None:
        """Remove a run with everything it has. `reclaim` gives its space back."""

    def reclaim(self) -> bool:
        """Give some space of deleted runs back to the disk. Returns whether there is more."""


class Journal(Protocol):
    """The records of all runs, and the branches they lie on."""

    def commit(self, uid: int, record: StoredRecord, responses: Sequence[NewResponse] = ()) -> None:
        """Make a record and the responses to its request ids durable, all or nothing.

        Raises:
            Moved: in a shared store, another process committed first or holds the run's lease; or (AlreadyAnswered) a
                request id has a response on this branch.
            InternalError: the record does not follow the run's last one, or a request id has a response on this branch.
            UnknownRun: no such run or branch.
            StoreFull: no room.
            Unavailable: any other failure. In a shared store the record may have been written all the same; then
                `Shared.tip` shows it, and a retry finds its response. In all other cases nothing was written.
        """

    def records(self, uid: int, lineage: Sequence[Span]) -> Iterator[StoredRecord]:
        """Records along `lineage`: of each (branch, after, upto) those with after < position <= upto, in order.

        Between two records the store may be used as usual. In a store of one process, a record that is missing or fails
        its checksum ends the iteration: it and all later records of its branch are cut, and `damages` lists them.

        Raises:
            Unavailable: the store cannot be read; or a record is damaged or missing, but the state after it is known
                (from a snapshot, from commits since the store was opened, or to other processes), so nothing is cut.
        """

    def columns(self, uid: int, lineage: Sequence[Span]) -> Iterator[bytes]:
        """The columns of the records along `lineage`, in order; payloads are not read."""

    def last(self, uid: int, lineage: Sequence[Span]) -> StoredRecord | None:
        """The last record along `lineage`; None if there is none. Nothing is cut.

        Raises:
            Unavailable: it is damaged, or the store cannot be read.
        """

    def branches(self, uid: int) -> list[Branch]:
        """All branches of a run, the oldest first; the last is the current one."""

    def add_branch(self, uid: int, parent: int, start: int) -> int:
        """Begin a branch that leaves `parent` after record `start`, and return its number."""

    def size(self, uid: int) -> int:
        """Bytes of a run's records."""

    def trim(self, uid: int, spans: Sequence[Span], base: int) -> None:
        """Drop the records of `spans`; from now on the journal begins after position `base`.

        The snapshot taken at `base` is kept until the next trim.
        """

    def damages(self) -> list[Damage]:
        """What was cut since the store was opened."""


class Checkpoints(Protocol):
    """Names for positions."""

    def set(self, uid: int, checkpoint: StoredCheckpoint) -> None:
        """Name a position; a name that exists moves."""

    def all(self, uid: int) -> list[StoredCheckpoint]:
        """All checkpoints of a run, the oldest first."""

    def delete(self, uid: int, name: str) -> bool:
        """Remove a checkpoint, or return False if there is none of that name. The history it named stays."""


class Responses(Protocol):
    """The responses to request ids, so that a retry gets the same bytes. `Journal.commit` writes them."""

    def find(self, uid: int, request_id: str) -> list[StoredResponse]:
        """The responses to a request id, one for each branch that has one, the oldest first."""

    def amend(self, uid: int, request_id: str, response: bytes) -> None:
        """Replace the newest response to a request id, which lacked its commit time.

        `find` gives the new one from now on. It becomes durable with the next commit, or when the store is closed.
        """


class Snapshots(Protocol):
    """States of runs, so that opening one need not read its whole journal. Methods may be called from any thread.

    A run's two newest are kept, and the one where a bounded journal begins.
    """

    def save(self, uid: int, snapshot: Snapshot) -> None:
        """Keep a snapshot. A crash on the way leaves the older ones.

        Raises:
            StoreFull: no room. Unavailable: it cannot be written.
        """

    def kept(self, uid: int) -> list[tuple[int, int]]:
        """(branch, position) of the snapshots kept, newest first."""

    def load(self, uid: int, branch: int, position: int) -> Snapshot | None:
        """A snapshot, or None if it is damaged or gone."""


class IndexFiles(Protocol):
    """Files of vector indexes, which take minutes to build. Methods may be called from any thread."""

    def find(self, uid: int, name: str) -> Path:
        """Where the file of that name is on this machine; nothing is there if it was never saved."""

    def save(self, uid: int, name: str, write: Callable[[Path], None]) -> None:
        """Have `write` write the file, and others of the same stem beside it, and keep them."""

    def sweep(self, uid: int, used: Set[str]) -> None:
        """Remove a run's files but those whose stem is in `used`."""


class Shared(Protocol):
    """What a store that several processes write to knows of the other processes."""

    @property
    def conflicts(self) -> int:
        """Commits of this process that were refused because another process committed first."""

    def tip(self, uid: int) -> Tip:
        """The end of a run's journal now. `UnknownRun` if the run was deleted."""


class Transactions(Protocol):
    """Several commits that are durable together."""

    def transaction(self) -> AbstractContextManager[None]:
        """Make everything that is written inside durable at the end, all or nothing.

        A commit inside that raises takes back what it wrote itself. At the end StoreFull or Unavailable may be raised,
        as by `Journal.commit`; nothing was written then.
        """


class Leases(Protocol):
    """Of several processes, which one holds a run's barrier. Methods may be called from any thread.

    Only the holder commits to the run; `Journal.commit` refuses the others.
    """

    def acquire(self, uid: int, address: str) -> str | None:
        """Hold a run's lease for `LEASE_S` from now on, or renew it.

        Args:
            address: where other services reach this process.

        Returns:
            None; or, if another process holds the lease, that process's address.
        """

    def holder(self, uid: int) -> str | None:
        """The address of the process that holds a run's lease; None if it is this one, or none."""

    def release(self, uid: int) -> None:
        """End the lease, if this process holds it."""


class Store(Protocol):
    """Everything that one store can do; `open_store` opens one.

    It is used by one thread at a time, except where a capability says otherwise.
    """

    url: str
    """Its address, without a password."""
    directory: Path | None
    """The data directory; None if there is none."""

    @property
    def runs(self) -> Runs:
        """By name."""

    @property
    def journal(self) -> Journal:
        """Their records."""

    @property
    def checkpoints(self) -> Checkpoints:
        """Names of positions."""

    @property
    def responses(self) -> Responses:
        """By request id."""

    @property
    def snapshots(self) -> Snapshots | None:
        """None in memory: nothing outlives the process."""

    @property
    def index_files(self) -> IndexFiles | None:
        """None in memory."""

    @property
    def transactions(self) -> Transactions | None:
        """None where each commit stands alone, because other processes may commit between two."""

    @property
    def shared(self) -> Shared | None:
        """None if this process is the only one that writes to the store."""

    @property
    def leases(self) -> Leases | None:
        """None if this process is the only one that writes to the store."""

    def tidy(self) -> None:
        """Do work that a later commit would otherwise do. Called when nobody waits; nothing depends on it."""

    def size(self) -> int:
        """Bytes on disk (or in memory)."""

    def check(self) -> None:
        """Raise `Unavailable` unless the store can be written to now (for readiness)."""

    def close(self) -> None:
        """Write what is pending and release the store."""
