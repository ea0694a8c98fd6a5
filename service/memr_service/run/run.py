"""One training run: its state, its journal, and the one path by which either changes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from itertools import islice

import numpy as np
import orjson
from memr_client.errors import InvalidRequest
from memr_client.schemas import HistoryRow, MemorySize, MemorySizes, RunInfo, WindowState

from memr_service.rewards.score import score
from memr_service.rewards.shaping import rejection_warnings
from memr_service.run import history
from memr_service.run.live_state import Limits, LiveState
from memr_service.run.response import Draft, Response, drafts, to_store
from memr_service.state.codec import seal
from memr_service.state.record import Batch, Effects, Record, Seat
from memr_service.store.base import AlreadyAnswered, Moved, NewResponse, StoredRecord, StoredResponse, StoredRun
from memr_service.store.capabilities import Store
from memr_service.store.lineage import clipped


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


@dataclass(frozen=True)
class Committed:
    """The responses to the requests of a batch, and the record that they are durable with.

    `record`: None if the (only) request had been answered before.
    """

    responses: list[Response]
    record: Record | None


class Run(LiveState):
    """A run in memory. Every method is called by one thread, the engine's, so requests are ordered and atomic."""

    def __init__(self, stored: StoredRun, store: Store, background: Executor, limits: Limits) -> None:
        super().__init__(stored, store, background, limits)
        self.used_at = time.monotonic()

    def reward(self, batch: Batch, submissions: Sequence[Submission], expired: Sequence[bytes] = ()) -> Committed:
        """Rewards for a batch, which is then part of the run: read, score, commit, apply.

        The record is applied by `settle`, or when the state is next asked for: the answer need not wait for that.

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
            effects = score(self.state, batch, write=True, expired=expired)
            scored = time.perf_counter()

            # Commit: the record and the answers to its request ids, durable together or not at all.
            timing = {"score": 1e3 * (scored - started)}
            record, payload = self._sealed(batch, effects, submissions, timing)
            drafted = drafts(self.stored.run_id, record)
            committed = self._commit(record, payload, [*to_store(record, drafted)])
        timing["commit"] = 1e3 * (time.perf_counter() - scored)

        # Apply: exactly what the record says, when the answer is on its way.
        self._due = record, len(payload)
        responses = [self._final(one, draft, timing) for one, draft in zip(submissions, drafted, strict=True)]
        return Committed(responses, record)

    def expire(self, names: Sequence[bytes]) -> Record | None:
        """Write what there is of open groups whose time is up (barrier `snapshot`); None if they are open no more."""
        self.catch_up()
        names = [name for name in names if name in self.state.open_groups]
        if not names or self.state.dimension is None:
            return None
        return self.reward(Batch.empty(self.state.dimension), [], names).record

    def evaluate(self, batch: Batch, submission: Submission) -> Response:
        """Rewards for a batch that leaves no trace (L10)."""
        self.used_at = time.monotonic()
        self.check_dimension(batch)
        started = time.perf_counter()
        effects = score(self.state, batch, write=False)
        warnings = [*submission.warnings, *rejection_warnings(self.config, batch, effects.rejected)]
        effects = replace(effects, warnings=warnings)
        timing = submission.all_timings({"score": 1e3 * (time.perf_counter() - started)})
        state = self.state
        return Draft.of(self.stored.run_id, state.branch, state.position, state.chain, effects).response(timing)

    def nothing(self) -> Response:
        """The answer to a request of no items: empty lists, no record."""
        return self.evaluate(Batch.empty(self.state.dimension or 1), Submission(started=time.perf_counter()))

    def answered(self, request_id: str) -> StoredResponse | None:
        """What a request id was answered with on this run's own history (L12)."""
        found = self._store.responses.find(self.uid, request_id)
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
            for columns in self._store.journal.columns(self.uid, [span])
        )
        return list(islice(history.rows(unpacked, self.config.weights), limit))

    def _sealed(
        self, batch: Batch, effects: Effects, submissions: Sequence[Submission], timing_ms: dict[str, float]
    ) -> tuple[Record, bytes]:
        """The record of what a batch does, and its bytes."""
        warnings = list(dict.fromkeys(text for one in submissions for text in one.warnings))
        warnings += rejection_warnings(self.config, batch, effects.rejected)
        return seal(
            Record(
                branch=self.branch,
                position=self.state.position + 1,
                batch=batch,
                effects=replace(effects, warnings=warnings, index_changes=self.graphs.changes(self.state)),
                first_serial=self.state.serial,
                parent=self.state.chain,
                seats=[Seat(one.request_id, one.body_digest, one.items) for one in submissions],
                at=time.time(),
                timing_ms=dict(timing_ms),
            )
        )

    def _final(self, one: Submission, draft: Draft, timing_ms: dict[str, float]) -> Response:
        """A request's response with all its timings, which also replaces the stored one that lacks them."""
        response = draft.response(one.all_timings(timing_ms))
        if one.request_id is not None:
            self._store.responses.amend(self.uid, one.request_id, response.body)
        return response

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

    def _commit(self, record: Record, payload: bytes, given: Sequence[NewResponse]) -> bool:
        """Make a record durable; False if another process came first, so that it has to be made anew."""
        try:
            self._store.journal.commit(self.uid, stored_record(record, payload), given)
        except AlreadyAnswered:
            raise
        except Moved:
            if not self.catch_up():
                raise
            return False
        return True


def stored_record(record: Record, payload: bytes) -> StoredRecord:
    """A record as the store takes it; `payload` as `seal` gave it."""
    return StoredRecord(*record.where, payload, history.columns(record), record.parent, record.chain)


def _window_state(values: np.ndarray) -> WindowState:
    count = len(values)
    return WindowState(
        count=count, min=float(values.min()) if count else None, max=float(values.max()) if count else None
    )
