"""A run's state kept up with its journal: recovered when the run is opened, followed from then on, saved as snapshots.

state = fold(apply, records): the newest snapshot, then every record after it.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from dataclasses import dataclass, replace

from memr_client.errors import ProblemError, Unavailable
from memr_client.schemas import RunConfig

from memr_service.run.index_builds import IndexBuilds
from memr_service.run.journal import RunJournal
from memr_service.run.malloc import give_back
from memr_service.state.codec import unseal
from memr_service.state.record import IndexChange, Record
from memr_service.state.state import State
from memr_service.store.base import Moved, Snapshot, StoredRecord, StoredRun, Tip
from memr_service.store.capabilities import Store

logger = logging.getLogger("memr.run")

SNAPSHOT_SHARE = 8
"""A snapshot is taken after at least 1/8 of its own size in journal. However large a run grows, its snapshots write at
most 8 times as many bytes as its journal."""


@dataclass(frozen=True)
class Limits:
    """The server's limits on each run: how much journal, in bytes, leads to a snapshot, how much is kept (0: all)."""

    snapshot_bytes: int
    journal_bytes: int = 0
    idle_s: float = math.inf
    """Seconds without rewards after which a run leaves memory."""
    scoring_s: float = math.inf
    """The longest, in seconds, that scoring one batch may take by estimate."""


class Rewound(Moved):
    """The store has lost records that this process has seen."""


class Damaged(Unavailable):
    """What is stored of a run does not make a state, so the run cannot be opened."""


class LiveState:
    """The state at the end of a run's journal. Used by one thread, the run thread.

    The newest record may be applied later than it is committed: `settle` applies it, and has to be called before
    anything reads `state`.
    """

    state: State

    def __init__(
        self, run: StoredRun, config: RunConfig, journal: RunJournal, store: Store, background: Executor, limits: Limits
    ) -> None:
        self._run = run
        self._config = config
        self._journal = journal
        self._saved = store.snapshots
        self._background = background
        self._limits = limits
        self._builds = IndexBuilds(run, store.index_files, background, config.seed)
        self._due: tuple[Record, int] | None = None
        self._group: list[tuple[Record, int]] | None = None
        """Within `group`: the records that were applied before they are durable."""
        self._durable: list[tuple[Record, int]] = []
        """Those of groups that are durable now, until `settle` begins the work that they lead to."""
        self._torn = False
        self._saving: Future[None] | None = None
        self._journal_bytes = 0
        self._snapshot_after = limits.snapshot_bytes
        self._snapshot_at = 0
        self._recover()

    def index_changes(self) -> list[IndexChange]:
        """The changes of indexes that the next record makes."""
        return self._builds.changes(self.state)

    def apply_later(self, record: Record, size: int) -> None:
        """Let `settle` apply the record that was just committed; `size`: its bytes."""
        self._due = record, size

    def is_due(self, record: Record) -> bool:
        """Whether a record is the newest, and `settle` has yet to apply it."""
        return self._due is not None and self._due[0] is record

    @property
    def torn(self) -> bool:
        """Whether the state has what the journal does not, or half of it, so that the run has to be read again."""
        return self._torn

    @contextmanager
    def group(self) -> Iterator[None]:
        """Commit several records inside, which become durable together at the end, or not at all.

        `settle` applies each before the next one is scored. If the commit fails after that, the state is `torn`.
        """
        applied = self._group = []
        try:
            with self._journal.together():
                yield
        except BaseException:
            self._due, self._torn = None, self._torn or bool(applied)
            raise
        finally:
            self._group = None
        self._durable += applied

    def settle(self) -> None:
        """Apply the newest record, if that was put off.

        Raises:
            RuntimeError: an earlier call failed in the middle of a record, so the run has to be read again.
        """
        if self._torn:
            raise RuntimeError(f"run {self._run.run_id!r} has to be read again: a record was applied in part")
        while self._durable:
            self._applied(*self._durable.pop(0))
        if self._due is not None:
            (record, size), self._due, self._torn = self._due, None, True
            self.state.apply(record)
            self._torn = False
            if self._group is None:
                self._applied(record, size)
            else:  # no snapshot of what is not durable
                self._group.append((record, size))

    def catch_up(self) -> bool:
        """Apply what other processes have committed since, and return whether there was anything.

        Raises:
            Moved: the run has to be read again: it was restored, its config was replaced, or its journal now begins
                later; or (Rewound) records are gone that this process has seen.
            UnknownRun: it was deleted.
        """
        tip = self._journal.tip()
        if tip is None:
            return False
        before, self._journal.base = self.state.position, tip.run.base
        if tip.branch != self._journal.branch or tip.run.config != self._run.config or self._journal.base > before:
            raise Moved(f"run {self._run.run_id!r} was changed by another process.", value=tip.position)
        try:
            for stored in self._journal.beyond(tip, before):
                self._applied(self._follow(stored), len(stored.payload))
            self._require(tip)
        except ValueError as error:
            raise Rewound(f"run {self._run.run_id!r} has lost records: {error}.", value=tip.position) from error
        return self.state.position > before

    def tend(self) -> None:
        """Once a snapshot has been saved, trim the journal and give free memory back; not within a group."""
        if self._group is None and self._saving is not None and self._saving.done():
            if error := self._saving.exception():
                logger.warning("a snapshot of run %s failed: %r", self._run.run_id, error)
            self._saving = None
            self.state.thaw()
            self._journal.trim(self._limits.journal_bytes)
            self._background.submit(give_back)

    def close(self) -> None:
        """Finish background work, and save a snapshot if the next start would be quicker with it."""
        self.settle()
        if self._saving is not None:
            self._saving.exception()
            self.tend()
        self._builds.close()
        if self._saved is not None and self._journal_bytes > self._limits.snapshot_bytes // 16:
            try:
                self._saved.save(self._run.uid, self._frozen())
            except ProblemError as error:  # a full disk, for example: the next start reads the journal instead
                logger.warning("a snapshot of run %s failed: %s", self._run.run_id, error.in_one_line)
            self.state.thaw()

    # Recovery

    def _recover(self) -> None:
        """Read the newest snapshot that fits the journal, then every record after it."""
        snapshots = self._journal.snapshots()
        while True:
            newest = next(snapshots, None)
            try:
                self._read(newest)
                break
            except ValueError as error:
                if newest is None:
                    raise Damaged(
                        f"The journal of run {self._run.run_id!r} is inconsistent: {error}.",
                        value=self.state.position + 1,
                        remedy="Import the run from an export, or delete it.",
                    ) from error
                logger.warning("run %s: the snapshot at %d is skipped: %s", self._run.run_id, newest.position, error)
        if self.state.position < self._journal.lineage[-1][1]:  # damage was cut before the newest branch began
            self._journal.leave_after(self.state.position)

    def _read(self, snapshot: Snapshot | None) -> None:
        """Make `state` from a snapshot (None: from nothing) and the records after it.

        Raises:
            ValueError: they do not belong together. Damaged: the snapshot that a bounded journal begins with is
                lost.
        """
        self.state = State(self._config, law=self._run.law)
        self.state.indexes.find_graph = self._builds.find
        self._journal_bytes = 0
        self._snapshot_at = at = 0 if snapshot is None else snapshot.position
        if at < self._journal.base:
            base = self._journal.base
            raise Damaged(
                f"Run {self._run.run_id!r} has lost the snapshot at {base}, where its bounded journal begins.",
                value=at,
                limit=base,
                remedy="Import the run from an export, or restore the data directory from a backup.",
            )
        with self.state.indexes.deferred():
            if snapshot is not None:
                self._pace(snapshot)
                self.state.restore(snapshot.branch, snapshot.position, snapshot.arrays)
            for stored in self._journal.records(after=at):
                self._follow(stored)
                self._journal_bytes += len(stored.payload)
            if (tip := self._journal.tip()) is not None:
                self._require(tip)

    def _follow(self, stored: StoredRecord) -> Record:
        """Apply the journal's next record. `ValueError` if it is not a record, or does not follow the state."""
        record = replace(unseal(stored.payload), branch=stored.branch)
        if record.parent != self.state.chain:
            raise ValueError(f"record {stored.position} does not follow {self.state.chain.hex()}")
        self.state.apply(record)
        return record

    def _require(self, tip: Tip) -> None:
        """`ValueError` unless the state is on the history that ends in `tip`: a shared store may lose records."""
        if tip.branch == self._journal.branch:
            here, there = self.state.position, tip.position
            if here > there or (here == there and tip.chain not in (b"", self.state.chain)):
                raise ValueError(f"record {here} is not the one that was here before")

    # Snapshots

    def _applied(self, record: Record, size: int) -> None:
        """Begin the work that an applied record of so many bytes leads to."""
        self._builds.follow(record.effects.index_changes, self.state)
        self._journal_bytes += size
        if self._journal_bytes >= self._snapshot_after and self._saving is None:
            self._save()

    def _save(self) -> None:
        if self._saved is None:
            return
        known, self._snapshot_at, self._journal_bytes = self._snapshot_at, self.state.position, 0
        if self._journal.shared and self._journal.newest_snapshot() > known:
            return  # another process has saved one meanwhile
        frozen = self._frozen()
        self._pace(frozen)
        self._saving = self._background.submit(self._saved.save, self._run.uid, frozen)

    def _pace(self, last: Snapshot) -> None:
        """Set how much journal leads to the next snapshot."""
        size = sum(array.nbytes for array in last.arrays.values())
        self._snapshot_after = max(self._limits.snapshot_bytes, size // SNAPSHOT_SHARE)

    def _frozen(self) -> Snapshot:
        return Snapshot(self.state.branch, self.state.position, self.state.freeze())
