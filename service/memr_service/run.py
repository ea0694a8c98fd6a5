"""One training run: its state, its journal, and the one path by which either changes."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field, replace
from itertools import islice

import numpy as np
import orjson
from memr_client.errors import InvalidRequest, Unavailable
from memr_client.schemas import HistoryRow, MemorySize, MemorySizes, RunConfig, RunInfo, WindowState

from memr_service import history, official, scoring, snapshot
from memr_service.answer import timed, untimed
from memr_service.memory.graph import Graph, Stretch, build
from memr_service.payment import doubts
from memr_service.record import Batch, Effects, IndexChange, Record, Seat, seal, unseal
from memr_service.state import State
from memr_service.store.base import (
    Answer,
    Answered,
    Branch,
    Moved,
    Snapshot,
    Store,
    StoredAnswer,
    StoredRecord,
    StoredRun,
    Tip,
)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Limits:
    """How much journal may gather before a snapshot is taken, and how much is kept (0: all), in bytes."""

    snapshot_bytes: int
    journal_bytes: int = 0
    idle_s: float = math.inf
    """How long a run stays in memory that gives no rewards."""


@dataclass(frozen=True)
class Submission:
    """What comes with a batch and does not bear on its rewards."""

    request_id: str | None = None
    body_digest: bytes = b""
    warnings: list[str] = field(default_factory=list)
    timing_ms: dict[str, float] = field(default_factory=dict)
    started: float = 0.0
    """`time.perf_counter()` when the request came."""
    items: np.ndarray | None = None
    """Which items of the batch are this request's; None: all."""

    def all_timings(self, timing_ms: dict[str, float]) -> dict[str, float]:
        """Its own timings, those of its batch, and the time since it came."""
        return {**self.timing_ms, **timing_ms, "total": 1e3 * (time.perf_counter() - self.started)}


class Rewound(Moved):
    """The store has lost records that this process has seen."""


class Run:
    """A run in memory. Every method is called by one thread, the engine's, so requests are ordered and atomic."""

    def __init__(self, stored: StoredRun, store: Store, background: Executor, limits: Limits) -> None:
        self.stored = stored
        self.config = RunConfig.model_validate_json(stored.config)
        self.used_at = time.monotonic()
        self.lineage = lineage(store.branches(stored.uid))
        self._store = store
        self._background = background
        self._limits = limits
        self._base = stored.base
        self._journal_bytes = 0
        self._snapshot: Future[None] | None = None
        self._graphs: dict[str, tuple[int, int, Future[Graph]]] = {}
        self._recover()

    @property
    def uid(self) -> int:
        """The store's number for this run."""
        return self.stored.uid

    @property
    def branch(self) -> int:
        """The branch new records go to."""
        return self.lineage[-1][0]

    def reward(
        self, batch: Batch, submissions: Sequence[Submission], expired: Sequence[bytes] = ()
    ) -> tuple[list[bytes], Record]:
        """Rewards for a batch, which is then part of the run: read, score, commit, apply.

        Args:
            submissions: the requests that make up the batch, each of which gets its answer.
            expired: open groups whose time is up, to be written as they are (barrier `snapshot`).

        Raises:
            InvalidRequest: the batch's dimension is not the run's.
            StoreFull, Unavailable: the record could not be made durable. Nothing changed.
            Moved: another process has brought the run where it cannot be followed, or (Answered) gave the answer.
        """
        self.used_at = time.monotonic()
        self._tend()
        self.catch_up()
        committed = False
        while not committed:
            self.check_dimension(batch)
            started = time.perf_counter()

            # Read and score: over views, so nothing is changed yet.
            effects = score(self.state, self.config, batch, write=True, expired=expired)
            scored = time.perf_counter()

            # Commit: the record and the answers to its request ids, durable together or not at all.
            timing = {"score": 1e3 * (scored - started)}
            record, payload = self._sealed(batch, effects, submissions, timing)
            bodies = untimed_answers(self.stored.run_id, record)
            committed = self._commit(record, payload, [*answers(record, bodies)])
        timing["commit"] = 1e3 * (time.perf_counter() - scored)

        # Apply: exactly what the record says.
        self.state.apply(record)
        self._after(record, len(payload))
        return [self._final(one, body, timing) for one, body in zip(submissions, bodies, strict=True)], record

    def expire(self, names: Sequence[bytes]) -> Record | None:
        """Write what there is of open groups whose time is up (barrier `snapshot`); None if they are open no more."""
        self.catch_up()
        names = [name for name in names if name in self.state.open_groups]
        if not names or self.state.dimension is None:
            return None
        return self.reward(Batch.of_nothing(self.state.dimension), [], names)[1]

    def evaluate(self, batch: Batch, submission: Submission) -> bytes:
        """Rewards for a batch that leaves no trace (L10)."""
        self.used_at = time.monotonic()
        self.check_dimension(batch)
        started = time.perf_counter()
        effects = score(self.state, self.config, batch, write=False)
        warnings = [*submission.warnings, *doubts(self.config, batch, effects.rejected)]
        effects = replace(effects, warnings=warnings)
        timing = submission.all_timings({"score": 1e3 * (time.perf_counter() - started)})
        state = self.state
        return timed(untimed(self.stored.run_id, state.branch, state.position, state.chain, effects), timing)

    def nothing(self) -> bytes:
        """The answer to a request of no items: empty lists, no record."""
        return self.evaluate(Batch.of_nothing(self.state.dimension or 1), Submission(started=time.perf_counter()))

    def answered(self, request_id: str) -> StoredAnswer | None:
        """What a request id was answered with on this run's own history (L12)."""
        found = self._store.answers(self.uid, request_id)
        return next((one for one in found if self._holds(one.branch, one.position)), None)

    def info(self, *, digest: bool = False) -> RunInfo:
        """What `GET /runs/{id}` says."""
        state = self.state
        sizes = {side: MemorySize(prompts=size[0], completions=size[1]) for side, size in state.sizes().items()}
        return RunInfo(
            run_id=self.stored.run_id,
            config=self.config,
            branch=self.branch,
            position=state.position,
            chain=state.chain.hex(),
            digest=state.digest() if digest else None,
            step=state.step,
            memory=MemorySizes(**sizes),
            windows={name: _window_state(values) for name, values in state.windows.items()},
            created_at=self.stored.created_at,
            encoder=None if self.stored.encoder is None else orjson.loads(self.stored.encoder),
            dimension=state.dimension,
        )

    def history(self, after: int, limit: int) -> list[HistoryRow]:
        """Statistics of the steps whose records come after position `after`, at most `limit` of them."""
        unpacked = (
            history.unpack(columns, span[0])
            for span in clipped(self.lineage, max(after, self._base))
            for columns in self._store.columns(self.uid, [span])
        )
        return list(islice(history.rows(unpacked, self.config.weights), limit))

    @property
    def base(self) -> int:
        """The position behind which the journal begins: 0 unless it is bounded."""
        return self._base

    def records(self, upto: int = 2**62, after: int = 0) -> Iterator[StoredRecord]:
        """The run's journal along its own history, as far as it is kept: behind position `after`, and up to `upto`."""
        return self._store.records(self.uid, clipped(self.lineage, max(after, self._base), upto))

    def snapshot(self, upto: int = 2**62) -> Snapshot | None:
        """The newest state kept of this history, of those not after position `upto`."""
        return next(self._kept(upto), None)

    def _kept(self, upto: int = 2**62) -> Iterator[Snapshot]:
        for branch, position in self._store.snapshots(self.uid):
            if position <= upto and self._holds(branch, position):
                found = self._store.load_snapshot(self.uid, branch, position)
                if found is not None:
                    yield found

    def close(self) -> None:
        """Finish what runs in the background, and leave a snapshot so that the next start is quick."""
        if self._snapshot is not None:
            self._snapshot.exception()
            self._tend()
        for _, _, building in self._graphs.values():
            building.cancel()
        if self._journal_bytes > self._limits.snapshot_bytes // 16:
            self._store.save_snapshot(self.uid, self._frozen())
            self.state.thaw()

    def _sealed(
        self, batch: Batch, effects: Effects, submissions: Sequence[Submission], timing_ms: dict[str, float]
    ) -> tuple[Record, bytes]:
        """The record of what a batch does, and its bytes."""
        warnings = list(dict.fromkeys(text for one in submissions for text in one.warnings))
        warnings += doubts(self.config, batch, effects.rejected)
        return seal(
            Record(
                branch=self.branch,
                position=self.state.position + 1,
                batch=batch,
                effects=replace(effects, warnings=warnings, index=self._index_changes()),
                first_serial=self.state.serial,
                parent=self.state.chain,
                seats=[Seat(one.request_id, one.body_digest, one.items) for one in submissions],
                at=time.time(),
                timing_ms=dict(timing_ms),
            )
        )

    def _final(self, one: Submission, body: bytes, timing_ms: dict[str, float]) -> bytes:
        """A request's answer with all its timings, in place of the one that was committed without."""
        final = timed(body, one.all_timings(timing_ms))
        if one.request_id is not None:
            self._store.amend_answer(self.uid, one.request_id, final)
        return final

    def check_dimension(self, batch: Batch) -> None:
        """Raise `InvalidRequest` unless the batch's dimension is the run's."""
        expected = self.state.dimension
        if expected is not None and batch.dimension != expected and len(batch):
            raise InvalidRequest(
                f"embeddings have dimension {batch.dimension}, the run {self.stored.run_id!r} has {expected}.",
                value=batch.dimension,
                limit=expected,
                remedy="Send embeddings of the model the run was begun with, or begin another run.",
            )

    def _commit(self, record: Record, payload: bytes, given: Sequence[Answer]) -> bool:
        """Make a record durable; False if another process came first, so that it has to be made anew."""
        try:
            self._store.commit(self.uid, stored_record(record, payload), given)
        except Answered:
            raise
        except Moved:
            if not self.catch_up():
                raise
            return False
        return True

    # Recovery

    def catch_up(self) -> bool:
        """Apply what other processes have committed since; whether there was anything.

        Raises:
            Moved: it cannot be followed from here, so that the run has to be read anew: it was restored, has another
                config or a later beginning; or (Rewound) records are gone that this process has seen.
            UnknownRun: it was deleted.
        """
        tip = self._store.tip(self.uid)
        if tip is None:
            return False
        before, self._base = self.state.position, tip.run.base
        if tip.branch != self.branch or tip.run.config != self.stored.config or self._base > before:
            raise Moved(f"run {self.stored.run_id!r} was changed by another process.", value=tip.position)
        try:
            for stored in self._store.records(self.uid, [(tip.branch, before, tip.position)]):
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
                log.warning("run %s: the snapshot at %d is passed over: %s", self.stored.run_id, newest.position, error)
        if self.state.position < self.lineage[-1][1]:
            # Damage was cut before the newest branch began: go on from what is left.
            parent = next(branch for branch, after, upto in self.lineage if after <= self.state.position <= upto)
            self._store.add_branch(self.uid, parent, self.state.position)
            self.lineage = lineage(self._store.branches(self.uid))

    def _read(self, newest: Snapshot | None) -> None:
        """Become what a snapshot and the records after it say. `ValueError` where they do not belong together."""
        self.state = State(self.config)
        self.state.find_graph = self._find_graph
        self._journal_bytes = 0
        if newest is not None:
            self.state.restore(newest.branch, newest.position, newest.arrays)
        at = self._snapshot_at = self.state.position
        if at < self._base:
            raise Unavailable(
                f"Run {self.stored.run_id!r} has lost the snapshot at {self._base}, where its bounded journal begins.",
                value=at,
                limit=self._base,
                remedy="Import the run from an export, or restore the data directory from a backup.",
            )
        for stored in self._store.records(self.uid, clipped(self.lineage, at)):
            self._follow(stored)
            self._journal_bytes += len(stored.payload)
        self._require(self._store.tip(self.uid))

    def _follow(self, stored: StoredRecord) -> Record:
        """Apply the journal's next record. `ValueError` where it is none, or does not follow the state."""
        record = replace(unseal(stored.payload), branch=stored.branch)
        if record.parent != self.state.chain:
            raise ValueError(f"record {stored.position} does not follow {self.state.chain.hex()}")
        self.state.apply(record)
        return record

    def _require(self, tip: Tip | None) -> None:
        """`ValueError` unless the state is on the history that ends in `tip`: in a shared store some may get lost."""
        if tip is not None and tip.branch == self.branch:
            here, there = self.state.position, tip.position
            if here > there or (here == there and tip.chain not in (b"", self.state.chain)):
                raise ValueError(f"record {here} is not the one that was here before")

    # What happens beside the main path

    def _after(self, record: Record, size: int) -> None:
        for change in record.effects.index:
            if change.change == "build":
                work = self._background.submit(self._build, change.memory, self.state.building[change.memory])
                self._graphs[change.memory] = (change.start, change.stop, work)
            else:
                self._graphs.pop(change.memory)
                self._sweep_graphs()
        self._journal_bytes += size
        if self._journal_bytes >= self._limits.snapshot_bytes and self._snapshot is None:
            self._take_snapshot()

    def _tend(self) -> None:
        """Take note of background work that has ended."""
        if self._snapshot is not None and self._snapshot.done():
            if error := self._snapshot.exception():
                log.warning("a snapshot of run %s failed: %r", self.stored.run_id, error)
            self._snapshot = None
            self.state.thaw()
            self._trim()

    def _trim(self) -> None:
        """Where the journal is bounded: drop the records a snapshot stands for, but none that a checkpoint needs."""
        bound = self._limits.journal_bytes
        if not bound or self._store.journal_bytes(self.uid) <= bound:
            return
        kept = [position for branch, position in self._store.snapshots(self.uid) if self._holds(branch, position)]
        checkpoints = self._store.checkpoints(self.uid)
        if len(kept) < 2 or any(not self._holds(one.branch, one.position, kept[1]) for one in checkpoints):
            return
        ends = {branch: upto for branch, _, upto in self.lineage}
        abandoned = [(one.branch, ends.get(one.branch, 0), 2**62) for one in self._store.branches(self.uid)]
        self._store.trim(self.uid, [*clipped(self.lineage, 0, kept[1]), *abandoned], kept[1])
        self._base = kept[1]

    def _holds(self, branch: int, position: int, least: int = 0) -> bool:
        """Whether a position is part of this run's history, and not before `least`."""
        return position >= least and any(
            branch == one and after <= position <= upto for one, after, upto in self.lineage
        )

    def _take_snapshot(self) -> None:
        known, self._snapshot_at, self._journal_bytes = self._snapshot_at, self.state.position, 0
        if self._store.shared and any(
            kept[1] > known and self._holds(*kept) for kept in self._store.snapshots(self.uid)
        ):
            return  # another process has taken one meanwhile
        self._snapshot = self._background.submit(self._store.save_snapshot, self.uid, self._frozen())

    def _frozen(self) -> Snapshot:
        return Snapshot(self.state.branch, self.state.position, self.state.freeze())

    def _index_changes(self) -> list[IndexChange]:
        """Graphs that are ready to be used from the next record on, and ranges that deserve one."""
        changes = []
        for name, index in self.state.indices().items():
            begun = self._graphs.get(name)
            if begun is None:
                if wanted := index.next_graph():
                    changes.append(IndexChange(name, "build", *wanted))
            elif begun[2].done():
                start, stop, work = begun
                if error := work.exception():
                    log.warning("an index of run %s could not be built: %r", self.stored.run_id, error)
                    del self._graphs[name]
                else:
                    changes.append(IndexChange(name, "swap", start, stop))
        return changes

    def _build(self, name: str, stretch: Stretch) -> Graph:
        graph = build(stretch, self.config.seed)
        if file := self._store.index_file(self.uid, f"{name}-{stretch.start}-{stretch.stop}.hnsw"):
            graph.save(file)
        return graph

    def _sweep_graphs(self) -> None:
        """Remove the files of graphs that others have taken the place of."""
        used = {f"{name}-{start}-{stop}" for name, (start, stop, _) in self._graphs.items()}
        for name, index in self.state.indices().items():
            used |= {f"{name}-{graph.start}-{graph.stop}" for graph in index.graphs}
        if file := self._store.index_file(self.uid, "any"):
            for old in file.parent.iterdir():
                if old.stem not in used:
                    old.unlink(missing_ok=True)

    def _find_graph(self, name: str, start: int, stop: int) -> Graph | None:
        begun = self._graphs.get(name)
        if begun is not None and begun[:2] == (start, stop):
            return begun[2].result()
        file = self._store.index_file(self.uid, f"{name}-{start}-{stop}.hnsw")
        return self.state.indices()[name].load(start, stop, file) if file else None


def score(state: State, config: RunConfig, batch: Batch, *, write: bool, expired: Sequence[bytes] = ()) -> Effects:
    """What a batch does to a state, by the run's order and barrier; nothing is changed (see `Run.reward`)."""
    if write and config.barrier == "snapshot":
        return snapshot.score(state, config, batch, expired)
    law = official.score if config.order == "official" else scoring.score
    return law(state, config, batch, write=write)


def untimed_answers(run_id: str, record: Record) -> list[bytes]:
    """What a record answers each of its requests, but for the timings."""
    where = (run_id, record.branch, record.position, record.chain)
    return [untimed(*where, record.effects, seat.items) for seat in record.seats]


def stored_record(record: Record, payload: bytes) -> StoredRecord:
    """A record as the store takes it; `payload` as `seal` gave it."""
    return StoredRecord(*record.where, payload, history.columns(record), record.parent, record.chain)


def answers(record: Record, bodies: list[bytes]) -> Iterator[Answer]:
    """What a record answers each request id with; `bodies` as `untimed_answers` gives them."""
    for seat, body in zip(record.seats, bodies, strict=True):
        if seat.request_id is not None:
            yield Answer(seat.request_id, seat.body_digest, timed(body, record.timing_ms))


def lineage(branches: Sequence[Branch], branch: int | None = None, position: int = 2**62) -> list[tuple[int, int, int]]:
    """The history up to a position of a branch (None: the newest), as (branch, after, upto) of its records."""
    by_number = {one.branch: one for one in branches}
    one = branches[-1] if branch is None else by_number[branch]
    spans = [(one.branch, one.start, position)]
    while one.parent is not None:
        upto, one = min(one.start, position), by_number[one.parent]
        spans.append((one.branch, one.start, upto))
    return spans[::-1]


def clipped(spans: Sequence[tuple[int, int, int]], after: int, upto: int = 2**62) -> list[tuple[int, int, int]]:
    """The part of a lineage behind position `after` and up to `upto`."""
    cut = [(branch, max(start, after), min(end, upto)) for branch, start, end in spans]
    return [span for span in cut if span[1] < span[2]]


def _window_state(values: np.ndarray) -> WindowState:
    count = len(values)
    return WindowState(
        count=count, min=float(values.min()) if count else None, max=float(values.max()) if count else None
    )
