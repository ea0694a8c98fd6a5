"""What the routes call: the five hops of a reward, over the runs of a `Catalogue`."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from importlib import metadata
from typing import TypeVar

from memr_client.errors import ProblemError
from memr_client.schemas import RewardRequest, RunConfig, Version

from memr_service.encoder import Encoders
from memr_service.engine import inputs
from memr_service.engine.barriers import Member
from memr_service.engine.idempotency import SingleFlight
from memr_service.engine.run_api import RunApi
from memr_service.engine.run_thread import shutting_down
from memr_service.engine.versions import library_versions
from memr_service.run.presets import LAW
from memr_service.run.response import Response
from memr_service.run.run import Submission
from memr_service.settings import Settings
from memr_service.store import open_store
from memr_service.store.capabilities import Store

T = TypeVar("T")

PRELOAD_AFTER_S = 2.0
"""Loading takes seconds of processor time; callers that send embeddings to a restarted server need not wait for it."""


@dataclass(frozen=True)
class RewardEvent:
    """One request and its response, for metrics."""

    run_id: str
    mode: str
    items: int
    encoded: int
    truncated: int
    response: Response


class Service(RunApi):
    """Runs behind a store and an encoder. Start it, call it from one event loop, close it."""

    def __init__(self, settings: Settings, store: Store, encoders: Encoders | None = None) -> None:
        super().__init__(settings, store, encoders)
        self.observers: list[Callable[[RewardEvent], None]] = []
        self._in_flight: SingleFlight[Response] = SingleFlight()
        self._preload = threading.Timer(PRELOAD_AFTER_S, self._load_default_encoder)
        self._preload.daemon = True
        self._draining = False

    @classmethod
    def open(cls, settings: Settings) -> Service:
        """A service over the store that the settings name."""
        return cls(settings, open_store(settings.store, settings.answer_hours))

    async def start(self) -> None:
        """Have the default encoder loaded soon; runs are opened when they are first asked for."""
        if self.settings.preload:
            self._preload.start()

    async def close(self) -> None:
        """Finish what was begun, leave snapshots, give the store back. Again: does nothing."""
        if self._draining:
            return
        self._draining = True
        self._preload.cancel()
        await self.barriers.leave()
        await self._in_flight.settled()
        self.batcher.close()
        await self._thread.ask(self._close)
        self._background.shutdown()
        self._thread.shutdown()

    def _close(self) -> None:
        self._runs.close()
        self.texts.close()
        self.store.close()

    # The main path: schema -> encoder -> memory -> reward -> store

    async def reward(self, request: RewardRequest, deadline: float | None = None, queued_s: float = 0.0) -> Response:
        """The response to `POST /reward`.

        Args:
            deadline: instant of `time.monotonic()` by which encoding, or scoring of embeddings sent, must have begun.
            queued_s: how long the request has been waiting already.
        """
        if self._draining:
            raise shutting_down()
        items = inputs.read(request, deadline, queued_s)
        work = partial(self._answer, items)
        if request.mode == "eval" or request.request_id is None or not items:
            return await work()
        name = (request.run_id, request.request_id)
        joined = name in self._in_flight
        response = await self._in_flight(name, request.request_id, items.digest, work)
        return replace(response, replayed=True) if joined else response

    async def _answer(self, items: inputs.Items) -> Response:
        """The five hops. Should the run's config change between encoding and scoring, they begin again."""
        request, begin_by = items.request, items.deadline if items.sent is not None else None
        while True:
            run = await self._open(request)
            barrier = None if request.mode == "eval" else await self.barriers.of(run)
            if not items and barrier is None:
                return await self._thread.ask(run.nothing)
            digest = items.digest if request.request_id is not None or barrier is not None else b""
            submission = Submission(request.request_id, digest, started=items.started)
            if request.mode == "train" and (items.sent is None or barrier is not None):
                # What was answered before is neither encoded again nor does it wait again.
                known = await self._thread.replay(run, submission)
                if known is not None:
                    return self._observed(request, known)
            begun = time.perf_counter()
            embedded = await self.embedder.batch(run, items)
            timing = {"queue": 1e3 * (begun - items.started), "encode": 1e3 * (time.perf_counter() - begun)}
            submission = replace(submission, warnings=embedded.warnings(run.config), timing_ms=timing)
            if request.mode == "eval":
                response = await self._thread.evaluate(run, embedded.batch, submission, begin_by)
            elif barrier is None:
                done = await self._thread.commit(
                    run, embedded.batch, [submission], begin_by=begin_by, look_up=items.sent is not None
                )
                if done is None:
                    continue
                if done.record is not None:
                    self._keep_texts(run, done.record, items.prompts, items.completions)
                (response,) = done.responses
            else:
                response = await _stay(barrier.join(Member(items, embedded.batch, submission)))
            return self._observed(request, response, embedded.encoded, embedded.truncated)

    # What operators ask

    async def ready(self) -> dict[str, str]:
        """What keeps the service from answering, by the name of the check; empty when nothing does."""
        if self._draining:
            return {"service": "shutting down"}
        try:
            await self._thread.ask(self.store.check)
        except ProblemError as error:
            return {"store": str(error)}
        return {}

    async def store_bytes(self) -> int:
        """Size of the store, for metrics."""
        return await self._thread.ask(self.store.size)

    async def damaged_records(self) -> int:
        """Records that were cut from journals since the service began, for metrics."""
        return sum(damage.records for damage in await self._thread.ask(self.store.journal.damages))

    def rewinds(self) -> int:
        """How often a run was found to have lost records in a shared store, for metrics."""
        return self._runs.rewinds

    def encoder_state(self) -> str:
        """Whether the default encoder is "loaded", or will be when it is needed ("not loaded")."""
        return "loaded" if self.encoders.loaded(self.encoders.default) else "not loaded"

    async def version(self) -> Version:
        """What takes part in a reward here."""
        loaded = self.encoders.loaded(self.encoders.default)
        fingerprint = await self.embedder.fingerprint(self._resolve(RunConfig()), needed=False) if loaded else None
        return Version(version=metadata.version("memr"), law=LAW, encoder=fingerprint, versions=library_versions())

    def _observed(self, request: RewardRequest, response: Response, encoded: int = 0, truncated: int = 0) -> Response:
        event = RewardEvent(request.run_id, request.mode, len(request.prompts), encoded, truncated, response)
        for observer in self.observers:
            observer(event)
        return response

    def _load_default_encoder(self) -> None:
        try:
            self.encoders.load(self.encoders.default)
        except ProblemError:
            return  # whoever needs it is told; callers that send embeddings do not


async def _stay(answer: asyncio.Future[Response]) -> Response:
    """Wait for the answer of a seat, even when the caller leaves: its retry then finds the same work in flight."""
    while not answer.done():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.shield(answer)
    return answer.result()
