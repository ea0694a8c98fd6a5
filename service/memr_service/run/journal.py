"""The journal of one run: its records along its own history, and the snapshots kept of that history."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext

from memr_client.errors import UnknownRun

from memr_service.run import history
from memr_service.state.record import Record
from memr_service.store.base import NewResponse, Snapshot, StoredRecord, StoredResponse, StoredRun, Tip
from memr_service.store.capabilities import Store
from memr_service.store.lineage import Span, clipped, holds, lineage

END = 2**62
"""A position beyond every record."""


class RunJournal:
    """The part of a store that belongs to one run's own history. Branches that the run has left are not in it.

    `lineage`: the spans of branches that the history consists of. `base`: the position after which the records begin, 0
    unless the journal is bounded.
    """

    def __init__(self, run: StoredRun, store: Store) -> None:
        """Find the run's history.

        Raises:
            UnknownRun: the run was deleted.
        """
        self.uid = run.uid
        self.base = run.base
        self._store = store
        self.lineage = self._lineage()

    @property
    def branch(self) -> int:
        """The branch that new records go to."""
        return self.lineage[-1][0]

    @property
    def shared(self) -> bool:
        """Whether other processes may write to it."""
        return self._store.shared is not None

    @property
    def takes_groups(self) -> bool:
        """Whether several records can become durable together."""
        return self._store.transactions is not None

    def together(self) -> AbstractContextManager[None]:
        """Make what is committed inside durable at the end, all or nothing, if the journal takes groups.

        Raises:
            StoreFull, Unavailable: at the end. Nothing was written.
        """
        return nullcontext() if self._store.transactions is None else self._store.transactions.transaction()

    def holds(self, branch: int, position: int) -> bool:
        """Whether a position is part of the run's history."""
        return holds(self.lineage, branch, position)

    def records(self, upto: int = END, after: int = 0) -> Iterator[StoredRecord]:
        """The records after position `after` up to `upto`, as far as they are kept."""
        return self._store.journal.records(self.uid, clipped(self.lineage, max(after, self.base), upto))

    def last(self) -> StoredRecord | None:
        """The last record; None if there is none, or none that is kept."""
        return self._store.journal.last(self.uid, clipped(self.lineage, self.base))

    def columns(self, after: int = 0, upto: int = END) -> Iterator[history.Columns]:
        """The columns of the records after position `after` up to `upto`, as far as they are kept."""
        for span in clipped(self.lineage, max(after, self.base), upto):
            for packed in self._store.journal.columns(self.uid, [span]):
                yield history.unpack(packed, span[0])

    def commit(self, record: Record, payload: bytes, responses: Sequence[NewResponse]) -> None:
        """Make a record and the responses to its request ids durable, all or nothing.

        Args:
            payload: the record's bytes, as `seal` returns them.

        Raises:
            Moved, StoreFull, UnknownRun, Unavailable: see `store.capabilities.Journal.commit`.
        """
        self._store.journal.commit(self.uid, stored_record(record, payload), responses)

    def response(self, request_id: str) -> StoredResponse | None:
        """The response that a request id got on this history; None if it is new (L12)."""
        found = self._store.responses.find(self.uid, request_id)
        return next((one for one in found if self.holds(one.branch, one.position)), None)

    def amend(self, request_id: str, body: bytes) -> None:
        """Replace the stored response to a request id, which lacked its timings."""
        self._store.responses.amend(self.uid, request_id, body)

    def tip(self) -> Tip | None:
        """The end of the journal in the store now; None if no other process writes to it.

        Raises:
            UnknownRun: the run was deleted.
        """
        return None if self._store.shared is None else self._store.shared.tip(self.uid)

    def beyond(self, tip: Tip, position: int) -> Iterator[StoredRecord]:
        """The records after `position` up to a tip on the same branch."""
        return self._store.journal.records(self.uid, [(tip.branch, position, tip.position)])

    def leave_after(self, position: int) -> None:
        """Go on from an earlier position on a new branch, because the records after it are lost."""
        parent = next(branch for branch, after, upto in self.lineage if after <= position <= upto)
        self._store.journal.add_branch(self.uid, parent, position)
        self.lineage = self._lineage()

    # Snapshots

    def snapshot(self, upto: int = END) -> Snapshot | None:
        """The newest readable snapshot at position `upto` or before."""
        return next(self.snapshots(upto), None)

    def snapshots(self, upto: int = END) -> Iterator[Snapshot]:
        """The readable snapshots at position `upto` or before, newest first."""
        for branch, position in self._snapshots_kept():
            if position <= upto and self._store.snapshots is not None:
                found = self._store.snapshots.load(self.uid, branch, position)
                if found is not None:
                    yield found

    def newest_snapshot(self) -> int:
        """The position of the newest snapshot, readable or not; 0 if there is none."""
        return max((position for _, position in self._snapshots_kept()), default=0)

    def trim(self, bound: int) -> None:
        """Drop the records that a snapshot replaces, if the journal has more than `bound` bytes (0: never).

        Records that a checkpoint needs are kept.
        """
        if not bound or self._store.journal.size(self.uid) <= bound:
            return
        kept = [position for _, position in self._snapshots_kept()]
        checkpoints = self._store.checkpoints.all(self.uid)
        if len(kept) < 2 or any(
            one.position < kept[1] or not self.holds(one.branch, one.position) for one in checkpoints
        ):
            return
        ends = {branch: upto for branch, _, upto in self.lineage}
        abandoned = [(one.branch, ends.get(one.branch, 0), END) for one in self._store.journal.branches(self.uid)]
        self._store.journal.trim(self.uid, [*clipped(self.lineage, 0, kept[1]), *abandoned], kept[1])
        self.base = kept[1]

    def _lineage(self) -> list[Span]:
        branches = self._store.journal.branches(self.uid)
        if not branches:
            raise UnknownRun(f"there is no run {self.uid} (was it deleted?).", value=self.uid)
        return lineage(branches)

    def _snapshots_kept(self) -> list[tuple[int, int]]:
        """(branch, position) of the snapshots kept of this history, newest first."""
        kept = [] if self._store.snapshots is None else self._store.snapshots.kept(self.uid)
        return [one for one in kept if self.holds(*one)]


def stored_record(record: Record, payload: bytes) -> StoredRecord:
    """A record as the store takes it; `payload` are its bytes, as `seal` returns them."""
    return StoredRecord(*record.where, payload, history.columns(record), record.parent, record.chain)
