"""What the routes call: runs by name, one engine thread that owns them all, and the five hops of a reward."""

from __future__ import annotations

import asyncio
import contextlib
import platform
import tempfile
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from importlib import metadata
from typing import Any, TypeVar

import numpy as np
import orjson
from memr_client.errors import DeadlineExceeded, InvalidRequest, ProblemError, Unavailable, UnknownRun
from memr_client.schemas import BarrierState, Checkpoint, HistoryRow, RewardRequest, RunConfig, RunInfo, Version

from memr_service import batch as inputs
from memr_service.answer import known_at_the_end
from memr_service.barrier import Barrier, Keeper, Member, Seat, merged, new_barrier
from memr_service.batcher import Batcher
from memr_service.embedder import Embedder, Sent, sent_embeddings
from memr_service.encoder import Encoders
from memr_service.follower import Limits
from memr_service.once import Once, require_same_body
from memr_service.openrlhf import check_pattern
from memr_service.presets import LAW, resolve
from memr_service.record import Batch, Record
from memr_service.run import Run, Submission
from memr_service.runs import Runs
from memr_service.settings import Settings
from memr_service.store import open_store
from memr_service.store.base import Store
from memr_service.texts import Texts
from memr_service.verifier import require

T = TypeVar("T")

PRELOAD_AFTER_S = 2.0
"""Loading takes seconds of processor time; callers that send embeddings to a restarted server need not wait for it."""

BEHIND_S = 0.001
"""After so long an answer has left: what it need not wait for is done then."""


@dataclass(frozen=True)
class RewardEvent:
    """One answered request, for metrics."""

    run_id: str
    mode: str
    items: int
    replayed: bool
    encoded: int
    truncated: int
    timing_ms: dict[str, float]
    memory: dict[str, Any]


class Service:
    """Runs behind a store and an encoder. Start it, call it from one event loop, close it."""

    def __init__(self, settings: Settings, store: Store, encoders: Encoders | None = None) -> None:
        self.settings = settings
        self.store = store
        self.encoders = encoders or Encoders(settings.allowed_encoders, settings.device)
        self.batcher = Batcher(self.encoders, settings.max_queue_texts)
        self.embedder = Embedder(self.encoders, self.batcher)
        texts_file = None if store.directory is None else store.directory / "texts.db"
        self.texts = Texts(texts_file, settings.text_quota_bytes, settings.text_max_age_days)
        self.observers: list[Callable[[RewardEvent], None]] = []
        self._engine = ThreadPoolExecutor(1, "memr-engine")
        self._background = ThreadPoolExecutor(2, "memr-background")  # a snapshot need not wait for a graph
        limits = Limits(settings.snapshot_bytes, settings.journal_bytes, 60 * settings.idle_minutes)
        self._runs = Runs(store, self._background, limits, self._forgotten)
        self._behind: deque[Callable[[], object]] = deque()
        self._in_flight: Once[tuple[bytes, bool]] = Once()
        self.keeper = Keeper(store, settings.address, self._drop_barrier)
        self._barriers: dict[int, Barrier] = {}
        self._barriers_gone = BarrierState(waiting=0, timeouts=0, late=0)
        self._loop: asyncio.AbstractEventLoop | None = None
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

    async def leave_barriers(self) -> None:
        """Send away who waits for others, and let another service keep the barriers: nobody new is to come here."""
        for barrier in self._barriers.values():
            barrier.drop(Unavailable("The service is shutting down.", remedy="Try again.", retry_after=1))
        await self.keeper.close()

    async def close(self) -> None:
        """Finish what was begun, leave snapshots, give the store back. Again: does nothing."""
        if self._draining:
            return
        self._draining = True
        self._preload.cancel()
        await self.leave_barriers()
        await self._in_flight.settled()
        self.batcher.close()
        await self._in_engine(self._close)
        self._background.shutdown()
        self._engine.shutdown()

    # The main path: schema -> encoder -> memory -> reward -> store

    async def reward(
        self, request: RewardRequest, deadline: float | None = None, queued_s: float = 0.0
    ) -> tuple[bytes, bool]:
        """The answer to `POST /reward` (a `RewardResponse` as JSON), and whether it had been given before.

        Args:
            deadline: instant of `time.monotonic()` by which encoding, or scoring of embeddings sent, must have begun.
            queued_s: how long the request has been waiting already.
        """
        if self._draining:
            raise Unavailable("The service is shutting down.", remedy="Try again.", retry_after=1)
        try:
            keys = inputs.identities(request)
            sent = sent_embeddings(request, keys)
            digest = inputs.body_digest(request, sent.raw if sent else ()) if request.request_id is not None else b""
        except (UnicodeEncodeError, orjson.JSONEncodeError):
            raise InvalidRequest(
                "A text holds a lone surrogate, which no encoding can carry.",
                limit="valid Unicode",
                remedy="Decode the text with errors='replace' before sending it.",
            ) from None
        work = partial(self._answer, request, keys, sent, digest, deadline, time.perf_counter() - queued_s)
        if request.mode == "eval" or request.request_id is None or not keys:
            return await work()
        name = (request.run_id, request.request_id)
        joined = name in self._in_flight
        answered, replayed = await self._in_flight(name, request.request_id, digest, work)
        return answered, replayed or joined

    async def _answer(
        self,
        request: RewardRequest,
        keys: list[bytes],
        sent: Sent | None,
        digest: bytes,
        deadline: float | None,
        started: float,
    ) -> tuple[bytes, bool]:
        """The five hops. Should the run's config change between encoding and scoring, they begin again."""
        while True:
            run = await self._open(request)
            barrier = None if request.mode == "eval" else await self._barrier(run)
            if not keys and barrier is None:
                return await self._in_engine(run.nothing), False
            if sent is None or barrier is not None:  # what was answered before is not encoded again, nor does it wait
                stored = await self._in_engine(self._replay, run, request, digest)
                if stored is not None:
                    return self._replayed(request, stored)
            begun = time.perf_counter()
            embedded = await self.embedder.batch(run, request, keys, sent, deadline)
            timing = {"queue": 1e3 * (begun - started), "encode": 1e3 * (time.perf_counter() - begun)}
            batch, warnings = embedded.batch, embedded.warnings(run.config)
            submission = Submission(request.request_id, digest, warnings, timing, started)
            begin_by = deadline if sent is not None else None  # where texts were encoded, it has begun in time
            if request.mode == "eval":
                answered: bytes = await self._in_engine(_in_time, begin_by, run.evaluate, batch, submission)
            elif barrier is None:
                stored, done = await self._in_engine(self._commit_once, run, request, batch, submission, begin_by)
                if stored is not None:
                    return self._replayed(request, stored)
                if done is None:
                    continue
                (answered,), record = done
                self._remember(run, record.first_serial, request.prompts, request.completions)
            else:
                if not digest:
                    submission = replace(submission, body_digest=inputs.body_digest(request, sent.raw if sent else ()))
                answered = await _stay(barrier.join(Member(request, batch, submission)))
            self._observe(request, False, embedded.encoded, embedded.truncated, answered)
            return answered, False

    def _replay(self, run: Run, request: RewardRequest, digest: bytes) -> bytes | None:
        """What a request was answered with before, if it was (called in the engine's thread)."""
        if request.request_id is None or request.mode == "eval":
            return None
        stored = run.answered(request.request_id)
        if stored is None:
            return None
        require_same_body(request.request_id, digest, stored.body_digest)
        return stored.answer

    def _commit_once(
        self, run: Run, request: RewardRequest, batch: Batch, submission: Submission, begin_by: float | None
    ) -> tuple[bytes | None, tuple[list[bytes], Record] | None]:
        """What the request was answered with before, else what `Runs.commit` gives (called in the engine's thread)."""
        stored = self._replay(run, request, submission.body_digest)
        if stored is not None:
            return stored, None
        return None, _in_time(begin_by, self._runs.commit, run, batch, [submission])

    def _replayed(self, request: RewardRequest, stored: bytes) -> tuple[bytes, bool]:
        self._observe(request, True, 0, 0, stored)
        return stored, True

    async def _settle(
        self, run: Run, members: Sequence[Member], seats: Sequence[Seat], warnings: Sequence[str]
    ) -> Record | None:
        """Score and commit what waited at a barrier as one batch, and answer everybody."""
        if not seats:
            for member in members:
                member.answer.set_result(await self._in_engine(run.nothing))
            return None
        places: dict[Member, list[tuple[int, int]]] = {member: [] for member in members}
        for place, (member, item) in enumerate(seats):
            places[member].append((item, place))
        submissions = [
            replace(
                member.submission,
                warnings=[*member.submission.warnings, *warnings],
                items=np.array([place for _, place in sorted(places[member])], np.int64),
            )
            for member in members
        ]
        done = await self._in_engine(self._runs.commit, run, merged(seats), submissions)
        if done is None:
            raise _dropped()
        answers, record = done
        for member, answered in zip(members, answers, strict=True):
            if not member.answer.done():
                member.answer.set_result(answered)
        prompts = [member.request.prompts[item] for member, item in seats]
        completions = [member.request.completions[item] for member, item in seats]
        self._remember(run, record.first_serial, prompts, completions)
        return record

    async def _expire(self, run: Run, names: list[bytes]) -> None:
        """Write what there is of groups whose time is up (barrier `snapshot`)."""
        await self._in_engine(self._runs.expire, run, names)

    # Runs

    async def create_run(self, run_id: str, config: RunConfig) -> tuple[RunInfo, bool]:
        """Create a run, or find it as it should be; at position 0 another config replaces the first.

        Raises:
            Conflict: the run has records and another config.
        """
        resolved = self._resolve(config)
        require(resolved.verifier)
        check_pattern(resolved.prompt_pattern)
        fingerprint = await self.embedder.fingerprint(resolved)
        return await self._in_engine(self._runs.create, run_id, resolved, fingerprint)

    async def run(self, run_id: str, digest: bool = False) -> RunInfo:
        """Describe a run."""
        run = await self._known(run_id)
        info = await self._in_engine(partial(run.info, digest=digest))
        if run.config.barrier == "none":
            return info
        here = [self._barriers[run.uid]] if run.uid in self._barriers else []
        return info.model_copy(update={"barrier": _together(here)})

    async def require_barrier(self, run_id: str) -> None:
        """Return where this service keeps the run's barrier, or it has none.

        Raises:
            Elsewhere: another service keeps it.
        """
        await self._barrier(await self._known(run_id))

    async def config(self, run_id: str) -> RunConfig:
        """A run's resolved config."""
        return (await self._known(run_id)).config

    async def runs(self) -> list[RunInfo]:
        """Describe all runs, by name."""
        return await self._in_engine(self._runs.describe)

    def open_runs(self) -> list[str]:
        """Names of the runs that are in memory."""
        return self._runs.names()

    async def ask(self, run_id: str, question: Callable[[Run], T]) -> T:
        """What a function says of a run, asked in the engine's thread: it should be quick, and change nothing."""
        return await self._in_engine(question, await self._known(run_id))

    async def history(self, run_id: str, after: int = 0, limit: int = 1000) -> list[HistoryRow]:
        """A run's steps as statistics, from the record after position `after` on."""
        run = await self._known(run_id)
        return await self._in_engine(run.history, after, limit)

    async def delete_run(self, run_id: str) -> None:
        """Remove a run with all it has."""
        run = await self._known(run_id)
        await self._in_engine(self._runs.delete, run)
        self.texts.delete(run.uid)

    async def export_run(self, run_id: str) -> AsyncIterator[bytes]:
        """The whole run as one file, piece by piece: its records up to now. The run goes on meanwhile."""
        run = await self._known(run_id)
        pieces = await self._in_engine(self._runs.archive, run)
        while piece := await self._in_engine(next, pieces, b""):
            yield piece

    async def import_run(self, run_id: str, chunks: AsyncIterator[bytes]) -> RunInfo:
        """Create a run from such a file, whole or not at all.

        Raises:
            MalformedBody: the file is damaged. Conflict: the name is taken, or the file is of another law.
        """
        with tempfile.TemporaryFile() as file:
            async for chunk in chunks:
                await asyncio.to_thread(file.write, chunk)
            file.seek(0)
            return await self._in_engine(self._runs.read_archive, run_id, file)

    # Checkpoints

    async def create_checkpoint(self, run_id: str, name: str, step: int | None = None) -> Checkpoint:
        """Name the run's present position; a name that exists moves. Nothing is copied."""
        run = await self._known(run_id)
        return await self._in_engine(self._runs.set_checkpoint, run, name, step)

    async def checkpoints(self, run_id: str) -> list[Checkpoint]:
        """A run's checkpoints, the oldest first."""
        run = await self._known(run_id)
        return await self._in_engine(self._runs.checkpoints, run)

    async def delete_checkpoint(self, run_id: str, name: str) -> None:
        """Remove a name; the history it named stays."""
        run = await self._known(run_id)
        await self._in_engine(self._runs.delete_checkpoint, run, name)

    async def restore(self, run_id: str, checkpoint: str) -> RunInfo:
        """Bring memories, windows, counters and request ids back to a checkpoint, on a new branch (L13)."""
        run = await self._known(run_id)
        return await self._in_engine(self._runs.restore, run, checkpoint)

    async def fork(self, run_id: str, new_run_id: str, checkpoint: str | None = None) -> RunInfo:
        """Copy a run under another name, as it was at a checkpoint or as it is, request ids included."""
        run = await self._known(run_id)
        return await self._in_engine(self._runs.fork, run, new_run_id, checkpoint)

    async def ready(self) -> dict[str, str]:
        """What keeps the service from answering, by the name of the check; empty when nothing does."""
        if self._draining:
            return {"service": "shutting down"}
        try:
            await self._in_engine(self.store.check)
        except ProblemError as error:
            return {"store": str(error)}
        return {}

    async def store_bytes(self) -> int:
        """Size of the store, for metrics."""
        return await self._in_engine(self.store.size)

    async def damaged_records(self) -> int:
        """Records that were cut from journals since the service began, for metrics."""
        return sum(damage.records for damage in await self._in_engine(self.store.damages))

    def rewinds(self) -> int:
        """How often a run was found to have lost records in a shared store, for metrics."""
        return self._runs.rewinds

    def barriers(self) -> BarrierState:
        """All barriers together: who waits now, and what went wrong since the service began, for metrics."""
        return _together([self._barriers_gone, *self._barriers.values()])

    def encoder_state(self) -> str:
        """Whether the default encoder is "loaded", or will be when it is needed ("not loaded")."""
        return "loaded" if self.encoders.loaded(self.encoders.default) else "not loaded"

    async def version(self) -> Version:
        """What takes part in a reward here."""
        loaded = self.encoders.loaded(self.encoders.default)
        fingerprint = await self.embedder.fingerprint(self._resolve(RunConfig()), needed=False) if loaded else None
        return Version(version=metadata.version("memr"), law=LAW, encoder=fingerprint, versions=library_versions())

    # Between the two

    async def _barrier(self, run: Run) -> Barrier | None:
        """Where the run's requests wait for each other; `Elsewhere` if another service keeps it."""
        if run.config.barrier == "none":
            return None
        await self.keeper.require(run.stored.run_id, run.uid)
        if run.uid not in self._barriers:
            settle, expire = partial(self._settle, run), partial(self._expire, run)
            self._loop = asyncio.get_running_loop()
            self._barriers[run.uid] = new_barrier(run.config, settle, expire, list(run.state.open_groups))
            if not self._runs.holds(run):  # it has been read anew since it was opened
                self._barriers.pop(run.uid, None)
                raise _dropped()
        return self._barriers[run.uid]

    def _forgotten(self, run: Run) -> None:
        """Send away who waits at the barrier of a run that is read anew (called in the engine's thread)."""
        self.keeper.forget(run.uid)
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._drop_barrier, run.uid)

    def _drop_barrier(self, uid: int) -> None:
        """Send away who waits at a run's barrier."""
        if (barrier := self._barriers.pop(uid, None)) is not None:
            self._barriers_gone = _together([self._barriers_gone, barrier]).model_copy(update={"waiting": 0})
            barrier.drop(_dropped())

    def _close(self) -> None:
        self._runs.close()
        self.texts.close()
        self.store.close()

    async def _in_engine(self, function: Callable[..., T], *args: Any) -> T:
        try:
            self._do_what_is_behind()
            return await asyncio.get_running_loop().run_in_executor(self._engine, function, *args)
        except RuntimeError as error:
            if "shutdown" in str(error):
                raise Unavailable("The service is shutting down.", remedy="Try again.", retry_after=1) from None
            raise

    async def _find(self, run_id: str) -> Run | None:
        return self._runs.opened(run_id) or await self._in_engine(self._runs.find, run_id)

    async def _known(self, run_id: str) -> Run:
        run = await self._find(run_id)
        if run is None:
            raise UnknownRun(
                f"There is no run {run_id!r}.",
                value=run_id,
                remedy="Create it with PUT /runs/{id}, or send it a training request.",
            )
        return run

    async def _open(self, request: RewardRequest) -> Run:
        """The run a request is for, created with the server's defaults where that is allowed."""
        if request.mode == "eval" or not self.settings.auto_create:
            return await self._known(request.run_id)
        run = await self._find(request.run_id)
        if run is None:
            config = self._resolve(RunConfig())
            fingerprint = await self.embedder.fingerprint(config, needed=request.embeddings is None)
            run = await self._in_engine(self._runs.create_unless_there, request.run_id, config, fingerprint)
        return run

    def _resolve(self, config: RunConfig) -> RunConfig:
        resolved = resolve(config, self.settings.default_preset, self.encoders.default)
        assert resolved.encoder is not None
        self.encoders.check(resolved.encoder)
        return resolved

    def _remember(
        self, run: Run, first_serial: int, prompts: Sequence[inputs.Text], completions: Sequence[inputs.Text]
    ) -> None:
        """Have a run's newest record applied and its texts kept, when the answer has left or the engine is asked."""
        self._behind.append(partial(self._engine.submit, self._runs.settle, run))
        self._behind.append(partial(self._keep_texts, run, first_serial, prompts, completions))
        asyncio.get_running_loop().call_later(BEHIND_S, self._do_what_is_behind)

    def _do_what_is_behind(self) -> None:
        while self._behind:
            self._behind.popleft()()

    def _keep_texts(
        self, run: Run, first_serial: int, prompts: Sequence[inputs.Text], completions: Sequence[inputs.Text]
    ) -> None:
        if run.config.store_text:
            asked = [inputs.prompt_text(prompt, item) for item, prompt in enumerate(prompts)]
            self.texts.put(run.uid, first_serial, asked, [inputs.completion_text(one) for one in completions])

    def _observe(self, request: RewardRequest, replayed: bool, encoded: int, truncated: int, answer: bytes) -> None:
        if self.observers:
            fields = known_at_the_end(answer)
            event = RewardEvent(
                request.run_id,
                request.mode,
                len(request.prompts),
                replayed,
                encoded,
                truncated,
                fields["timing_ms"],
                fields["memory"],
            )
            for observer in self.observers:
                observer(event)

    def _load_default_encoder(self) -> None:
        try:
            self.encoders.load(self.encoders.default)
        except ProblemError:
            return  # whoever needs it is told; callers that send embeddings do not


def _together(barriers: Sequence[Barrier | BarrierState]) -> BarrierState:
    return BarrierState(
        waiting=sum(one.waiting for one in barriers),
        timeouts=sum(one.timeouts for one in barriers),
        late=sum(one.late for one in barriers),
    )


async def _stay(answer: asyncio.Future[bytes]) -> bytes:
    """Wait for the answer of a seat, even when the caller leaves: its retry then finds the same work in flight."""
    while not answer.done():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.shield(answer)
    return answer.result()


def _in_time(begin_by: float | None, function: Callable[..., T], *args: Any) -> T:
    """Call a function, unless it is too late for it."""
    if begin_by is not None and time.monotonic() > begin_by:
        raise DeadlineExceeded(
            "The server was busy until the deadline had passed; nothing changed.",
            remedy="Send again, or allow more time (X-Request-Timeout-Ms).",
        )
    return function(*args)


def _dropped() -> Unavailable:
    return Unavailable(
        "The run was changed or went elsewhere while the request waited at its barrier; nothing of it was stored.",
        remedy="Send it again with the same request_id.",
        retry_after=1,
    )


LIBRARIES = ("numpy", "hnswlib", "torch", "sentence-transformers", "transformers", "fastapi", "pydantic")


def library_versions() -> dict[str, str]:
    """Python and the installed libraries that take part in a reward."""
    found = {"python": platform.python_version()}
    for name in LIBRARIES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found
