"""A run's state kept up with its journal: recovered at the start, followed from then on, put aside as snapshots."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Iterator
from concurrent.futures import Executor, Future
from dataclasses import dataclass, replace
from functools import partial

from memr_client.errors import Unavailable
from memr_client.schemas import RunConfig

from memr_service.run.index_builds import IndexBuilds
from memr_service.run.malloc import give_back
from memr_service.state.codec import unseal
from memr_service.state.record import Record
from memr_service.state.state import State
from memr_service.store.base import Moved, Snapshot, StoredRecord, StoredRun, Tip
from memr_service.store.capabilities import Store
from memr_service.store.lineage import clipped, holds, lineage

logger = logging.getLogger("memr.run")

SHARE = 8
"""A snapshot that is larger than the journal before the next one by more than this is taken less often: however large
a run has grown, its snapshots write so many times what its journal does at most."""


@dataclass(frozen=True)
class Limits:
    """How much journal may gather before a snapshot is taken, and how much is kept (0: all), in bytes."""

    snapshot_bytes: int
    journal_bytes: int = 0
    idle_s: float = math.inf
    """How long a run stays in memory that gives no rewards."""


class Rewound(Moved):
    """The store has lost records that this process has seen."""


class LiveState:
    """A run's state, at the end of its journal."""

    def __init__(self, stored: StoredRun, store: Store, background: Executor, limits: Limits) -> None:
        self.stored = stored
        self.config = RunConfig.model_validate_json(stored.config)
        self.lineage = lineage(store.journal.branches(stored.uid))
        self._store = store
        self._background = background
        self.graphs = IndexBuilds(stored, store.index_files, background, self.config.seed)
        self._limits = limits
        self._base = stored.base
        self._journal_bytes = 0
        self._snapshot_after = limits.snapshot_bytes
        self._snapshot: Future[None] | None = None
        self._due: tuple[Record, int] | None = None
        self._torn = False
        self._settling = threading.RLock()
        self._recover()

    @property
    def state(self) -> State:
        """What the run remembers at the end of its journal; where its newest record is still to be applied, it is."""
        self.settle()
        return self._state

    def settle(self) -> None:
        """Apply the newest record if that was put off (see `Run.reward`); from any thread."""
        with self._settling:
            if self._torn:
                raise RuntimeError(f"run {self.stored.run_id!r} is to be read anew: a record was applied in part")
            if self._due is not None:
                (record, size), self._due, self._torn = self._due, None, True
                self._state.apply(record)
                self._torn = False
                self._after(record, size)

    @property
    def uid(self) -> int:
        """The store's number for this run."""
        return self.stored.uid

    @property
    def branch(self) -> int:
        """The branch new records go to."""
        return self.lineage[-1][0]

    @property
    def base(self) -> int:
        """The position behind which the journal begins: 0 unless it is bounded."""
        return self._base

    def records(self, upto: int = 2**62, after: int = 0) -> Iterator[StoredRecord]:
        """The run's journal along its own history, as far as it is kept: behind position `after`, and up to `upto`."""
        return self._store.journal.records(self.uid, clipped(self.lineage, max(after, self._base), upto))

    def snapshot(self, upto: int = 2**62) -> Snapshot | None:
        """The newest state kept of this history, of those not after position `upto`."""
        return next(self._kept(upto), None)

    def _kept(self, upto: int = 2**62) -> Iterator[Snapshot]:
        for branch, position in self._listed():
            if position <= upto and self._store.snapshots is not None:
                found = self._store.snapshots.load(self.uid, branch, position)
                if found is not None:
                    yield found

    def _listed(self) -> list[tuple[int, int]]:
        """(branch, position) of the snapshots kept of this history, newest first."""
        kept = [] if self._store.snapshots is None else self._store.snapshots.kept(self.uid)
        return [one for one in kept if self._holds(*one)]

    def catch_up(self) -> bool:
        """Apply what other processes have committed since; whether there was anything.

        Raises:
            Moved: it cannot be followed from here, so that the run has to be read anew: it was restored, has another
                config or a later beginning; or (Rewound) records are gone that this process has seen.
            UnknownRun: it was deleted.
        """
        if self._store.shared is None:
            return False
        tip = self._store.shared.tip(self.uid)
        before, self._base = self.state.position, tip.run.base
        if tip.branch != self.branch or tip.run.config != self.stored.config or self._base > before:
            raise Moved(f"run {self.stored.run_id!r} was changed by another process.", value=tip.position)
        try:
            for stored in self._store.journal.records(self.uid, [(tip.branch, before, tip.position)]):
                self._after(self._follow(stored), len(stored.payload))
            self._require(tip)
        except ValueError as error:
            raise Rewound(f"run {self.stored.run_id!r} has lost records: {error}.", value=tip.position) from error
        return self.state.position > before

    def _recover(self) -> None:
        """The newest snapshot that the journal bears out, then every record after it."""
        kept = self._kept()
        while True:
            newest = next(kept, None)
            try:
                self._read(newest)
                break
            except ValueError as error:
                if newest is None:
                    raise Unavailable(
                        f"The journal of run {self.stored.run_id!r} is inconsistent: {error}.",
                        value=self.state.position + 1,
                        remedy="Import the run from an export, or delete it.",
                    ) from error
                logger.warning(
                    "run %s: the snapshot at %d is passed over: %s", self.stored.run_id, newest.position, error
                )
        if self.state.position < self.lineage[-1][1]:
            # Damage was cut before the newest branch began: go on from what is left.
            parent = next(branch for branch, after, upto in self.lineage if after <= self.state.position <= upto)
            self._store.journal.add_branch(self.uid, parent, self.state.position)
            self.lineage = lineage(self._store.journal.branches(self.uid))

    def _read(self, newest: Snapshot | None) -> None:
        """Become what a snapshot and the records after it say. `ValueError` where they do not belong together."""
        self._state = State(self.config)
        self._state.indexes.find_graph = partial(self.graphs.find, self._state)
        self._journal_bytes = 0
        at = self._snapshot_at = 0 if newest is None else newest.position
        if at < self._base:
            raise Unavailable(
                f"Run {self.stored.run_id!r} has lost the snapshot at {self._base}, where its bounded journal begins.",
                value=at,
                limit=self._base,
                remedy="Import the run from an export, or restore the data directory from a backup.",
            )
        with self.state.indexes.deferred():
            if newest is not None:
                self._pace(newest)
                self.state.restore(newest.branch, newest.position, newest.arrays)
            for stored in self._store.journal.records(self.uid, clipped(self.lineage, at)):
                self._follow(stored)
                self._journal_bytes += len(stored.payload)
            if self._store.shared is not None:
                self._require(self._store.shared.tip(self.uid))

    def _follow(self, stored: StoredRecord) -> Record:
        """Apply the journal's next record. `ValueError` where it is none, or does not follow the state."""
        record = replace(unseal(stored.payload), branch=stored.branch)
        if record.parent != self.state.chain:
            raise ValueError(f"record {stored.position} does not follow {self.state.chain.hex()}")
        self.state.apply(record)
        return record

    def _require(self, tip: Tip) -> None:
        """`ValueError` unless the state is on the history that ends in `tip`: in a shared store some may get lost."""
        if tip.branch == self.branch:
            here, there = self.state.position, tip.position
            if here > there or (here == there and tip.chain not in (b"", self.state.chain)):
                raise ValueError(f"record {here} is not the one that was here before")

    def close(self) -> None:
        """Finish what runs in the background, and leave a snapshot so that the next start is quick."""
        self.settle()
        if self._snapshot is not None:
            self._snapshot.exception()
            self._tend()
        self.graphs.close()
        if self._store.snapshots is not None and self._journal_bytes > self._limits.snapshot_bytes // 16:
            self._store.snapshots.save(self.uid, self._frozen())
            self.state.thaw()

    def _after(self, record: Record, size: int) -> None:
        """What an applied record, of so many bytes, gives cause to."""
        self.graphs.follow(record.effects.index_changes, self.state)
        self._journal_bytes += size
        if self._journal_bytes >= self._snapshot_after and self._snapshot is None:
            self._take_snapshot()

    def _tend(self) -> None:
        """Take note of background work that has ended."""
        if self._snapshot is not None and self._snapshot.done():
            if error := self._snapshot.exception():
                logger.warning("a snapshot of run %s failed: %r", self.stored.run_id, error)
            self._snapshot = None
            self.state.thaw()
            self._trim()
            self._background.submit(give_back)

    def _trim(self) -> None:
        """Where the journal is bounded: drop the records a snapshot stands for, but none that a checkpoint needs."""
        bound = self._limits.journal_bytes
        if not bound or self._store.journal.size(self.uid) <= bound:
            return
        kept = [position for _, position in self._listed()]
        checkpoints = self._store.checkpoints.all(self.uid)
        if len(kept) < 2 or any(
            one.position < kept[1] or not self._holds(one.branch, one.position) for one in checkpoints
        ):
            return
        ends = {branch: upto for branch, _, upto in self.lineage}
        abandoned = [(one.branch, ends.get(one.branch, 0), 2**62) for one in self._store.journal.branches(self.uid)]
        self._store.journal.trim(self.uid, [*clipped(self.lineage, 0, kept[1]), *abandoned], kept[1])
        self._base = kept[1]

    def _holds(self, branch: int, position: int) -> bool:
        """Whether a position is part of this run's history."""
        return holds(self.lineage, branch, position)

    def _take_snapshot(self) -> None:
        if self._store.snapshots is None:
            return
        known, self._snapshot_at, self._journal_bytes = self._snapshot_at, self.state.position, 0
        if self._store.shared is not None and any(position > known for _, position in self._listed()):
            return  # another process has taken one meanwhile
        frozen = self._frozen()
        self._pace(frozen)
        self._snapshot = self._background.submit(self._store.snapshots.save, self.uid, frozen)

    def _pace(self, last: Snapshot) -> None:
        """How much journal may gather before the next snapshot."""
        size = sum(array.nbytes for array in last.arrays.values())
        self._snapshot_after = max(self._limits.snapshot_bytes, size // SHARE)

    def _frozen(self) -> Snapshot:
        return Snapshot(self.state.branch, self.state.position, self.state.freeze())
