"""One training run: its config, journal and state, and the one method that changes them, `Run.reward`."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import islice

import numpy as np
import orjson
from memr_client.errors import InvalidRequest, TooLarge
from memr_client.schemas import HistoryRow, MemorySize, MemorySizes, RunConfig, RunInfo, WindowState

from memr_service.rewards.cost import Size, expected_s
from memr_service.rewards.score import score
from memr_service.rewards.shaping import rejection_warnings
from memr_service.rewards.turns import Turns
from memr_service.rewards.zeros import why_zero
from memr_service.run import history
from memr_service.run.journal import RunJournal
from memr_service.run.live_state import Limits, LiveState
from memr_service.run.response import Draft, Response, drafts, to_store
from memr_service.state.codec import seal
from memr_service.state.record import Batch, Effects, Record, Seat
from memr_service.state.state import State
from memr_service.store.base import AlreadyAnswered, Moved, StoredRun
from memr_service.store.capabilities import Store

MOST_DIMENSIONS = 16_384
"""Most numbers in an embedding of a new run. Memory is taken in blocks of 4096 embeddings."""


@dataclass(frozen=True)
class Submission:
    """One request of a batch: everything about it that has no influence on rewards."""

    request_id: str | None = None
    body_digest: bytes = b""
    warnings: list[str] = field(default_factory=list)
    timing_ms: dict[str, float] = field(default_factory=dict)
    started: float = 0.0
    """`time.perf_counter()` when the request arrived."""
    items: np.ndarray | None = None
    """Which items of the batch are this request's; None: all."""

    def all_timings(self, timing_ms: dict[str, float]) -> dict[str, float]:
        """The request's own timings, those of its batch, and the total since it arrived."""
        return {**self.timing_ms, **timing_ms, "total": 1e3 * (time.perf_counter() - self.started)}


@dataclass(frozen=True)
class Written:
    """A record that was scored and committed, and the responses that it leads to once it is durable."""

    record: Record
    submissions: Sequence[Submission]
    drafted: list[Draft]
    scored: float
    """`time.perf_counter()` when it had been scored."""


@dataclass(frozen=True)
class Committed:
    """The responses to the requests of a batch, and the record that they are durable with.

    `record`: None if the (only) request already had a response. `applied`: whether the state has the record already.
    """

    responses: list[Response]
    record: Record | None
    applied: bool = True


def empty_response(run_id: str, state: State) -> Response:
    """The response to a request without items in this state, which is a new one if the run does not exist."""
    effects = score(state, Batch.empty(state.dimension or 1), write=False)
    return Draft.of(run_id, state.branch, state.position, state.chain, effects).response({})


class Run:
    """A run in memory. All methods are called by one thread, the run thread, so requests are ordered and atomic.

    `live.settle()` has to be called before each of them: the newest record may not have been applied yet.
    """

    def __init__(self, stored: StoredRun, store: Store, background: Executor, limits: Limits) -> None:
        self.stored = stored
        self.uid = stored.uid
        self.law = stored.law
        self.config = RunConfig.model_validate_json(stored.config)
        self.journal = RunJournal(stored, store)
        self.live = LiveState(stored, self.config, self.journal, store, background, limits)
        self._scoring_s = limits.scoring_s
        self.used_at = time.monotonic()

    @property
    def state(self) -> State:
        """What the run remembers at the end of its journal."""
        return self.live.state

    @contextmanager
    def group(self) -> Iterator[None]:
        """Reward several batches inside: their records are durable together at the end, or not at all.

        Raises:
            StoreFull, Unavailable: they could not be made durable. Nothing changed, but the run may have to be read
                again (`LiveState.torn`).
        """
        self.live.tend()
        with self.live.group():
            yield

    def reward(self, batch: Batch, submissions: Sequence[Submission], expired: Sequence[bytes] = ()) -> Written:
        """Score a batch and make it part of the run: read, score, commit, apply. `respond` gives the responses.

        Args:
            submissions: the requests that make up the batch; each gets a response.
            expired: open groups that have timed out and are written as they are (barrier `snapshot`).

        Raises:
            InvalidRequest: the batch's dimension is not the run's. TooLarge: scoring it would take too long.
            StoreFull, Unavailable: the record could not be made durable. Nothing changed.
            Moved: another process has changed the run so that it has to be read again, or (AlreadyAnswered) has
                answered one of the requests.
        """
        self.used_at = time.monotonic()
        self.live.tend()
        self.live.catch_up()
        while True:
            self._check(batch)
            started = time.perf_counter()

            # Read and score: over views of the memories, so nothing is changed yet.
            effects = score(self.state, batch, write=True, expired=expired)
            scored = time.perf_counter()

            # Commit: the record and the responses to its request ids, durable together or not at all.
            record, payload = self._record(batch, effects, submissions, {"score": 1e3 * (scored - started)})
            drafted = drafts(self.stored.run_id, self.config, record)
            try:
                self.journal.commit(record, payload, [*to_store(record, drafted)])
                break
            except AlreadyAnswered:
                raise
            except Moved:
                if not self.live.catch_up():
                    raise
                # Another process committed first: score again, on the state that includes its record.

        # Apply: exactly what the record says, once the response was sent, or before the next batch of a group.
        self.live.apply_later(record, len(payload))
        return Written(record, submissions, drafted, scored)

    def respond(self, written: Written) -> Committed:
        """The responses to the requests of a batch, whose record is durable now."""
        timing = {**written.record.timing_ms, "commit": 1e3 * (time.perf_counter() - written.scored)}
        pairs = zip(written.submissions, written.drafted, strict=True)
        responses = [self._response(*one, timing) for one in pairs]
        return Committed(responses, written.record, not self.live.is_due(written.record))

    def set_up(self, **what: Mapping[str, np.ndarray]) -> None:
        """Make a pool, decisions, or what earlier runs knew part of the run, or forget prompts (`setting_up`).

        Raises:
            StoreFull, Unavailable, Moved: as in `reward`.
        """
        self.live.catch_up()
        record, payload = setting_up(self.state, branch=self.journal.branch, **what)
        self.journal.commit(record, payload, [])
        self.live.apply_later(record, len(payload))
        self.live.settle()

    def expire(self, names: Sequence[bytes]) -> Record | None:
        """Write open groups that have timed out with the items they have (barrier `snapshot`); None if none is open."""
        self.live.catch_up()
        names = [name for name in names if name in self.state.open_groups]
        if not names or self.state.dimension is None:
            return None
        return self.reward(Batch.empty(self.state.dimension), [], names).record

    def evaluate(self, batch: Batch, submission: Submission) -> Response:
        """Score a batch and change nothing (L10).

        Raises:
            InvalidRequest: the batch's dimension is not the run's. TooLarge: scoring it would take too long.
        """
        self.used_at = time.monotonic()
        self._check(batch)
        started = time.perf_counter()
        state, effects = self.state, score(self.state, batch, write=False)
        batch = effects.scored(batch)
        warnings = [*submission.warnings, *rejection_warnings(self.config, batch, effects.rejected)]
        effects = replace(effects, warnings=warnings)
        timing = submission.all_timings({"score": 1e3 * (time.perf_counter() - started)})
        zeros, turns = why_zero(self.config, batch, effects), Turns.of(self.config, batch)
        where = (self.stored.run_id, state.branch, state.position, state.chain)
        return Draft.of(*where, effects, None, zeros, turns).response(timing)

    def empty_response(self) -> Response:
        """The response to a request without items: empty lists. It makes no record."""
        self.used_at = time.monotonic()
        return empty_response(self.stored.run_id, self.state)

    def info(self, digest: bool = False) -> RunInfo:
        """The run's description, as `GET /runs/{id}` returns it. `digest`: also compute the digest of its state."""
        state = self.state
        sizes = {side: MemorySize(prompts=size[0], completions=size[1]) for side, size in state.sizes().items()}
        return RunInfo(
            run_id=self.stored.run_id,
            config=self.config,
            branch=self.journal.branch,
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

    def history(self, after: int = 0, limit: int = 1000) -> list[HistoryRow]:
        """Statistics of the steps whose records come after position `after`, at most `limit` rows."""
        return list(islice(history.rows(self.journal.columns(after), self.config.weights), limit))

    def check_dimension(self, batch: Batch) -> None:
        """Raise `InvalidRequest` unless the batch's dimension is the run's, or if there is none, one it may get."""
        expected = self.state.dimension
        if expected is None and batch.dimension > MOST_DIMENSIONS:
            raise too_many_dimensions(batch.dimension)
        if expected is not None and batch.dimension != expected and len(batch):
            raise InvalidRequest(
                f"embeddings have dimension {batch.dimension}, the run {self.stored.run_id!r} has {expected}.",
                value=batch.dimension,
                limit=expected,
                remedy="Send embeddings of the model the run was begun with, or begin another run.",
            )

    def _check(self, batch: Batch) -> None:
        """Raise unless the batch can be scored, and within the time that a request may take."""
        self.check_dimension(batch)
        takes = expected_s(self.config, Size.of(self.state, batch))
        if takes > self._scoring_s:
            raise TooLarge(
                f"Scoring these {len(batch)} completions would take about {takes:.1f} s with the run's settings and "
                f"memories, and all runs wait meanwhile; the limit is {self._scoring_s:g} s.",
                value=round(takes, 1),
                limit=self._scoring_s,
                remedy="Send fewer completions in a request, use a smaller k in a new run, or raise MEMR_SCORING_S.",
            )

    def _record(
        self, batch: Batch, effects: Effects, submissions: Sequence[Submission], timing_ms: dict[str, float]
    ) -> tuple[Record, bytes]:
        """The record of a batch and its effects, and the record's bytes."""
        warnings = list(dict.fromkeys(text for one in submissions for text in one.warnings))
        warnings += rejection_warnings(self.config, effects.scored(batch), effects.rejected)
        return seal(
            Record(
                branch=self.journal.branch,
                position=self.state.position + 1,
                batch=batch,
                effects=replace(effects, warnings=warnings, index_changes=self.live.index_changes()),
                first_serial=self.state.serial,
                parent=self.state.chain,
                seats=[Seat(one.request_id, one.body_digest, one.items) for one in submissions],
                at=time.time(),
                timing_ms=dict(timing_ms),
            )
        )

    def _response(self, submission: Submission, draft: Draft, timing_ms: dict[str, float]) -> Response:
        """A request's response with all its timings, which also replaces the stored one that lacks them."""
        response = draft.response(submission.all_timings(timing_ms))
        if submission.request_id is not None:
            self.journal.amend(submission.request_id, response.body)
        return response


def setting_up(state: State, branch: int = 0, **what: Mapping[str, np.ndarray]) -> tuple[Record, bytes]:
    """The next record of a state, with a `prior`, `prior_answers`, `decisions`, a `pool` or what to `forget` (see
    `Batch`), and its bytes."""
    batch = replace(Batch.empty(state.dimension or 0), **{name: dict(arrays) for name, arrays in what.items()})  # type: ignore[arg-type]
    return seal(
        Record(
            branch=branch,
            position=state.position + 1,
            batch=batch,
            effects=score(state, batch, write=True),
            first_serial=state.serial,
            parent=state.chain,
            at=time.time(),
        )
    )


def too_many_dimensions(dimension: int) -> InvalidRequest:
    """The refusal of embeddings that are wider than those of any run."""
    return InvalidRequest(
        f"embeddings have dimension {dimension}, but those of a new run have at most {MOST_DIMENSIONS}.",
        value=dimension,
        limit=MOST_DIMENSIONS,
        remedy="Send sentence embeddings, for example of 384 numbers.",
    )


def _window_state(values: np.ndarray) -> WindowState:
    count = len(values)
    return WindowState(
        count=count, min=float(values.min()) if count else None, max=float(values.max()) if count else None
    )
