"""The front door of the engine: a reward request on its way from its texts to a durable record."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from importlib import metadata

from memr_client.errors import ProblemError
from memr_client.schemas import RewardRequest, RunConfig, Version

from memr_service.encoder import Encoders
from memr_service.encoder.batcher import Batcher
from memr_service.engine import inputs
from memr_service.engine.barriers import Barrier, Member
from memr_service.engine.barriers.manager import BarrierManager
from memr_service.engine.decisions import DecisionBook
from memr_service.engine.embedding import Embedded, EmbeddingStage
from memr_service.engine.idempotency import SingleFlight
from memr_service.engine.inputs import Items
from memr_service.engine.planner import Planner
from memr_service.engine.readers import Readers
from memr_service.engine.run_api import RunApi
from memr_service.engine.run_registry import RunRegistry
from memr_service.engine.run_thread import RunThread, shutting_down
from memr_service.engine.sent_embeddings import few_numbers
from memr_service.engine.text_thread import TextThread, are_light, in_one_step
from memr_service.engine.versions import library_versions
from memr_service.run.live_state import Limits
from memr_service.run.response import Response
from memr_service.run.run import Run, Submission, empty_response
from memr_service.settings import Settings
from memr_service.state.law import LAW
from memr_service.state.record import Record
from memr_service.state.state import State
from memr_service.store import open_store
from memr_service.store.capabilities import Store
from memr_service.store.texts import Texts

logger = logging.getLogger("memr.engine")

PRELOAD_AFTER_S = 2.0
"""Seconds after the start at which the default encoder is loaded. Loading takes seconds of processor time, which
callers that send embeddings to a restarted server need not wait for. An encoder whose files are not on this machine is
loaded at once, because it may turn out that it cannot be."""

ENCODER_END_S = 10.0
"""Seconds that closing waits for the encoder's thread: it may be loading a model."""


@dataclass(frozen=True)
class RewardEvent:
    """One request and its response, for metrics."""

    run_id: str
    mode: str
    items: int
    encoded: int
    """Distinct texts that were encoded for it."""
    truncated: int
    """How many of those were truncated."""
    response: Response


class Service:
    """Rewards over the runs of a store. Start it, call it from one event loop, close it."""

    def __init__(self, settings: Settings, store: Store, encoders: Encoders | None = None) -> None:
        self.settings = settings
        self.store = store
        self.encoders = encoders or Encoders(settings.allowed_encoders, settings.device)
        self.batcher = Batcher(self.encoders, settings.max_queue_texts)
        self.text_thread = TextThread(settings.text_s)
        self.embedding = EmbeddingStage(self.encoders, self.batcher, self.text_thread, settings.max_items)
        texts_file = None if store.directory is None else store.directory / "texts.db"
        self.texts = Texts(texts_file, settings.text_quota_bytes, settings.text_max_age_days)
        self.observers: list[Callable[[RewardEvent], None]] = []
        self._background = ThreadPoolExecutor(2, "memr-background")  # a snapshot need not wait for an index
        limits = Limits(settings.snapshot_bytes, settings.journal_bytes, 60 * settings.idle_minutes, settings.scoring_s)
        self.registry = RunRegistry(store, self._background, limits)
        self.thread = RunThread(self.registry)
        self.readers = Readers()
        self.barriers = BarrierManager(
            *(store.leases, settings.address, self.registry, self.thread, self.text_thread),
            *(self._keep_texts, settings.max_waiting_bytes),
        )
        self.runs = RunApi(
            settings, store, self.embedding, self.registry, self.thread, self.readers, self.barriers, self.texts
        )
        self.planner = Planner(self.runs, self.registry, self.thread)
        self.decisions = DecisionBook(self.runs)
        self._in_flight: SingleFlight[Response] = SingleFlight()
        here = self.encoders.is_here(self.encoders.default)
        self._preload = threading.Timer(PRELOAD_AFTER_S if here else 0, self._load_default_encoder)
        self._preload.daemon = True
        self._draining = False
        self._store_fails = ""

    @classmethod
    def open(cls, settings: Settings) -> Service:
        """A service over the store that the settings name."""
        return cls(settings, open_store(settings.store, settings.answer_hours))

    async def start(self) -> None:
        """Load the default encoder soon. Runs are opened when they are first needed."""
        if self.settings.preload:
            self._preload.start()

    async def close(self) -> None:
        """Finish the requests that have begun, save snapshots, release the store. A second call does nothing."""
        if self._draining:
            return
        self._draining = True
        self._preload.cancel()
        await self.barriers.close()
        await self._in_flight.settled()
        self.batcher.close()
        self.readers.shutdown()
        await self.planner.close()
        await self.thread.close(self._close)
        self._background.shutdown()
        self.text_thread.close()

    def _close(self) -> None:
        self.registry.close()
        self.texts.close()
        self.store.close()
        self.batcher.join(ENCODER_END_S)

    # The main path: reward > _once > _at_barrier > _five_hops

    async def reward(
        self,
        request: RewardRequest,
        deadline: float | None = None,
        queued_s: float = 0.0,
        warnings: Sequence[str] = (),
        waits: Callable[[], object] = lambda: None,
    ) -> Response:
        """The response to `POST /reward`.

        Args:
            deadline: `time.monotonic()` by which encoding, or scoring of sent embeddings, must have begun.
            queued_s: seconds the request has waited already.
            warnings: what the caller should know about the body that the request was read from.
            waits: called when the request begins to wait for others, as long as those take.
        """
        if self._draining:
            raise shutting_down()
        light = are_light(request.prompts, request.completions)
        if light and few_numbers(request.embeddings):
            items = inputs.read(request, deadline, queued_s, warnings, light)  # hop 1: schema
        else:
            reading = in_one_step(inputs.read, request, deadline, queued_s, warnings, light)
            items = await self.text_thread.ask(request.run_id, reading)
        return await self._once(items, waits)

    async def _once(self, items: Items, waits: Callable[[], object]) -> Response:
        """Two concurrent requests with one request id share one computation (L12)."""
        request = items.request
        if request.mode == "eval" or request.request_id is None or not items:
            return await self._at_barrier(items, waits)
        digest = await self._digest(items)
        name = (request.run_id, request.request_id)
        if joined := name in self._in_flight:
            waits()
        work = partial(self._at_barrier, items, waits)
        response = await self._in_flight(name, request.request_id, digest, work)
        return replace(response, replayed=True) if joined else response

    async def _at_barrier(self, items: Items, waits: Callable[[], object]) -> Response:
        """Wait at the run's barrier, if it has one; begin again if the run was changed meanwhile."""
        while True:
            run = await self.runs.open(items.request)
            if run is None:
                return empty_response(items.request.run_id, State(self.runs.resolve(RunConfig())))
            inputs.check_spread(items.request, run.config)
            inputs.check_groups(items, run.config)
            barrier = None if items.request.mode == "eval" else await self.barriers.of(run)
            if barrier is not None:
                return await self._joined(run, barrier, items, waits)
            if not items:
                return await self.thread.on_run(run, Run.empty_response)
            response = await self._five_hops(run, items)
            if response is not None:
                return response

    async def _five_hops(self, run: Run, items: Items) -> Response | None:
        """Schema (done), encoder, memory, reward, store. None: the run was changed meanwhile."""
        submission = await self._submission(items, items.request.request_id is not None)
        if items.sent is None and (known := await self._known(run, items, submission)) is not None:
            return known
        embedded, submission = await self._embedded(run, items, submission)  # hop 2: encoder
        begin_by = items.deadline if items.sent is not None else None  # encoding has begun in time
        if items.request.mode == "eval":
            response = await self.thread.evaluate(run, embedded.batch, submission, begin_by)
            return self._observed(items, response, embedded)
        committed = await self.thread.commit(  # hops 3 to 5: memory, reward, store
            run, embedded.batch, [submission], begin_by=begin_by, look_up=items.sent is not None
        )
        if committed is None:
            return None
        if committed.record is not None:
            self._keep_texts(run, committed.record, embedded.prompts, embedded.completions)
        return self._observed(items, committed.responses[0], embedded)

    async def _joined(self, run: Run, barrier: Barrier, items: Items, waits: Callable[[], object]) -> Response:
        """Encode the request, and wait for the requests that it belongs to; the manager commits them together."""
        submission = await self._submission(items, True)
        if (known := await self._known(run, items, submission)) is not None:
            return known
        embedded, submission = await self._embedded(run, items, submission)
        waits()
        member = barrier.join(Member(items, embedded.batch, embedded.completions, submission))
        return self._observed(items, await _response(barrier, member), embedded)

    async def _known(self, run: Run, items: Items, submission: Submission) -> Response | None:
        """The response that the request id got before: such a request is neither encoded nor does it wait."""
        known = None if items.request.mode == "eval" else await self.thread.replay(run, submission)
        return None if known is None else self._observed(items, known)

    async def _embedded(self, run: Run, items: Items, submission: Submission) -> tuple[Embedded, Submission]:
        """The items as a batch, and the submission with what that took."""
        begun = time.perf_counter()
        embedded = await self.embedding.batch(run, items)
        timing = {"queue": 1e3 * (begun - items.started), "encode": 1e3 * (time.perf_counter() - begun)}
        return embedded, replace(submission, warnings=embedded.warnings, timing_ms=timing)

    async def _submission(self, items: Items, identified: bool) -> Submission:
        """The request as part of a batch; with its body's digest if it may come again."""
        digest = await self._digest(items) if identified else b""
        return Submission(items.request.request_id, digest, started=items.started)

    async def _digest(self, items: Items) -> bytes:
        """`Items.digest`, made in the thread for texts if there is much to read."""
        if items.light:
            return items.digest
        return await self.text_thread.ask(items.request.run_id, in_one_step(lambda: items.digest))

    def _observed(self, items: Items, response: Response, embedded: Embedded | None = None) -> Response:
        """The response, once the observers have seen it."""
        request = items.request
        encoded, truncated = (0, 0) if embedded is None else (embedded.encoded, embedded.truncated)
        event = RewardEvent(request.run_id, request.mode, len(items), encoded, truncated, response)
        for observer in self.observers:
            observer(event)
        return response

    def _keep_texts(self, run: Run, record: Record, prompts: Sequence[str], completions: Sequence[str]) -> None:
        """Keep the texts of a record's items after the response was sent."""
        if run.config.store_text:
            put = partial(self.texts.put, run.uid, record.first_serial, prompts, completions)
            self.thread.after_response(put, run_id=run.stored.run_id)

    # For operators

    async def ready(self) -> dict[str, str]:
        """Failing check -> reason; empty if the service can answer.

        Anybody may ask, so a store's reason, which has its address, is for the log only.
        """
        if self._draining:
            return {"service": "shutting down"}
        failing = {}
        try:
            await self.thread.ask(self.store.check)
        except ProblemError as error:
            failing["store"] = "it cannot be used now; the service's log has the reason"
            if error.in_one_line != self._store_fails:
                logger.warning("not ready: %s", error.in_one_line)
                self._store_fails = error.in_one_line
        else:
            self._store_fails = ""
        if self.settings.preload and (failure := self.encoders.failure(self.encoders.default)) is not None:
            failing["encoder"] = failure.in_one_line
        return failing

    async def store_bytes(self) -> int:
        """Size of the store, for metrics."""
        return await self.thread.ask(self.store.size)

    async def damaged_records(self) -> int:
        """Records that were cut from journals since the service began, for metrics."""
        return sum(damage.records for damage in await self.thread.ask(self.store.journal.damages))

    def encoder_state(self) -> str:
        """Whether the default encoder is "loaded", "cannot be loaded", or will be when it is needed ("not loaded")."""
        if self.encoders.loaded(self.encoders.default):
            return "loaded"
        return "not loaded" if self.encoders.failure(self.encoders.default) is None else "cannot be loaded"

    async def version(self) -> Version:
        """The versions of everything that affects rewards: the law, the encoder, the libraries."""
        loaded = self.encoders.loaded(self.encoders.default)
        config = self.runs.resolve(RunConfig())
        fingerprint = await self.embedding.fingerprint(config, needed=False) if loaded else None
        return Version(version=metadata.version("memr"), law=LAW, encoder=fingerprint, versions=library_versions())

    def _load_default_encoder(self) -> None:
        try:
            self.encoders.load(self.encoders.default)
        except ProblemError as error:  # `ready` and requests that need the encoder report it too
            logger.error("%s", error.in_one_line)


async def _response(barrier: Barrier, member: Member) -> Response:
    """Wait for a member's response. If the caller leaves, the barrier decides how long the member waits for its retry,
    which finds the same work in flight."""
    left = False
    while not member.response.done():
        try:
            await asyncio.shield(member.response)
        except asyncio.CancelledError:
            if not left:
                left = True
                barrier.leave(member)
    return member.response.result()
