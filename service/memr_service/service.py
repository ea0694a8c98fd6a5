"""What the routes call: runs by name, one engine thread that owns them all, and the five hops of a reward."""

from __future__ import annotations

import asyncio
import contextlib
import platform
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import partial
from importlib import metadata
from typing import Any, BinaryIO, TypeVar

import numpy as np
import orjson
from memr_client.errors import Conflict, InvalidRequest, ProblemError, Unavailable, UnknownRun
from memr_client.schemas import RewardRequest, RunConfig, RunInfo, Version

from memr_service import archive
from memr_service import batch as inputs
from memr_service.answer import answer
from memr_service.batcher import Batcher
from memr_service.encoder import Encoders
from memr_service.presets import LAW, differences, resolve
from memr_service.record import Batch, Record
from memr_service.run import Run, Submission
from memr_service.settings import Settings
from memr_service.store import open_store
from memr_service.store.base import Store, StoredRecord
from memr_service.texts import Texts

T = TypeVar("T")


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
        texts_file = None if store.directory is None else store.directory / "texts.db"
        self.texts = Texts(texts_file, settings.text_quota_bytes, settings.text_max_age_days)
        self.observers: list[Callable[[RewardEvent], None]] = []
        self._engine = ThreadPoolExecutor(1, "memr-engine")
        self._background = ThreadPoolExecutor(1, "memr-background")
        self._runs: dict[str, Run] = {}
        self._in_flight: dict[tuple[str, str], tuple[bytes, asyncio.Task[bytes]]] = {}
        self._waiting: dict[asyncio.Task[bytes], int] = {}
        self._draining = False

    @classmethod
    def open(cls, settings: Settings) -> Service:
        """A service over the store that the settings name."""
        return cls(settings, open_store(settings.store, settings.answer_hours))

    async def start(self) -> None:
        """Begin to load the default encoder; runs are opened when they are first asked for."""
        if self.settings.preload:
            threading.Thread(target=self._load_default_encoder, name="memr-preload", daemon=True).start()

    async def close(self) -> None:
        """Finish what was begun, leave snapshots, give the store back."""
        self._draining = True
        await asyncio.gather(*(task for _, task in self._in_flight.values()), return_exceptions=True)
        self.batcher.close()
        await self._in_engine(self._close_runs)
        self._background.shutdown()
        self._engine.shutdown()

    # The main path: schema -> encoder -> memory -> reward -> store

    async def reward(
        self, request: RewardRequest, deadline: float | None = None, queued_s: float = 0.0
    ) -> tuple[bytes, bool]:
        """The answer to `POST /reward` (a `RewardResponse` as JSON), and whether it had been given before.

        Args:
            deadline: instant of `time.monotonic()` by which encoding must have begun.
            queued_s: how long the request has been waiting already.
        """
        if self._draining:
            raise Unavailable("The service is shutting down.", remedy="Try again.", retry_after=1)
        try:
            keys = inputs.identities(request)
            sent = self._sent_embeddings(request)
            digest = inputs.body_digest(request, sent) if request.request_id is not None else b""
        except (UnicodeEncodeError, orjson.JSONEncodeError):
            raise InvalidRequest(
                "A text holds a lone surrogate, which no encoding can carry.",
                limit="valid Unicode",
                remedy="Decode the text with errors='replace' before sending it.",
            ) from None
        reply = partial(self._answer, request, keys, sent, digest, deadline, time.perf_counter() - queued_s)
        if request.mode == "eval" or request.request_id is None or not keys:
            return await reply(), False
        return await self._once(request, digest, reply)

    async def _once(self, request: RewardRequest, digest: bytes, reply: Callable[[], Any]) -> tuple[bytes, bool]:
        """Answer a request id once: from the store if it is there, together with the same id in flight, else afresh."""
        assert request.request_id is not None
        name = (request.run_id, request.request_id)
        joined = name in self._in_flight
        if not joined:
            run = await self._find(request.run_id)
            stored = None if run is None else await self._in_engine(run.answered, request.request_id)
            if stored is not None:
                self._same_body(request.request_id, digest, stored.body_digest)
                self._observe(request, True, 0, 0, stored.answer)
                return stored.answer, True
            joined = name in self._in_flight  # it may have come while the store was asked
        if not joined:
            task = asyncio.create_task(reply())
            self._in_flight[name] = (digest, task)
            task.add_done_callback(lambda _: self._in_flight.pop(name, None))
        first, task = self._in_flight[name]
        self._same_body(request.request_id, digest, first)
        return await self._wait_for(task), joined

    async def _answer(
        self,
        request: RewardRequest,
        keys: list[bytes],
        sent: tuple[np.ndarray, np.ndarray] | None,
        digest: bytes,
        deadline: float | None,
        started: float,
    ) -> bytes:
        """The five hops. Should the run's config change between encoding and scoring, they begin again."""
        while True:
            run = await self._open(request)
            if not keys:
                return await self._in_engine(run.nothing)
            begun = time.perf_counter()
            batch, encoded, truncated = await self._batch(run, request, keys, sent, deadline)
            timing = {"queue": 1e3 * (begun - started), "encode": 1e3 * (time.perf_counter() - begun)}
            warnings = _truncation_warning(truncated, encoded, run) if truncated else []
            submission = Submission(request.request_id, digest, warnings, timing, started)
            if request.mode == "eval":
                answered = await self._in_engine(run.evaluate, batch, submission)
            else:
                done = await self._in_engine(self._commit, run, request, batch, submission)
                if done is None:
                    continue
                answered, record = done
                if run.config.store_text:
                    self._keep_texts(run, request, record)
            self._observe(request, False, encoded, truncated, answered)
            return answered

    async def _batch(
        self,
        run: Run,
        request: RewardRequest,
        keys: list[bytes],
        sent: tuple[np.ndarray, np.ndarray] | None,
        deadline: float | None,
    ) -> tuple[Batch, int, int]:
        """A request's inputs as they are scored; how many texts were encoded for it, and how many of those were cut."""
        config = run.config
        encoded = truncated = 0
        if sent is not None:
            prompts, prompt_of = inputs.distinct_rows(inputs.unit_rows(sent[0], "prompts"), keys)
            completions = inputs.unit_rows(sent[1], "completions")
        else:
            texts = inputs.texts(request, config)
            fingerprint = await self._matching_encoder(run)
            result = await self.batcher.encode(
                fingerprint["model"], texts.distinct, fingerprint["precision"], config.long_text, deadline
            )
            places, prompt_of = np.unique(texts.prompt, return_inverse=True)
            prompts, completions = result.vectors[places], result.vectors[texts.completion]
            encoded, truncated = len(texts.distinct), int(result.truncated.sum())
        batch = Batch(
            keys=keys,
            prompts=inputs.rounded(prompts, config.storage),
            prompt_of=prompt_of.astype("<i4"),
            completions=inputs.rounded(completions, config.storage),
            outcomes=np.array(request.outcomes, np.float64),
            group=inputs.groups(request, keys).astype("<i4"),
            step=request.step,
            answers=request.answers,
            labels=request.labels,
            truncated=None if request.truncated is None else np.array(request.truncated),
        )
        return batch, encoded, truncated

    # Runs

    async def create_run(self, run_id: str, config: RunConfig) -> tuple[RunInfo, bool]:
        """Create a run, or find it as it should be; at position 0 another config replaces the first.

        Raises:
            Conflict: the run has records and another config.
        """
        resolved = self._resolve(config)
        fingerprint = await self._fingerprint(resolved)
        return await self._in_engine(self._create, run_id, resolved, fingerprint)

    async def run(self, run_id: str, digest: bool = False) -> RunInfo:
        """Describe a run."""
        run = await self._known(run_id)
        return await self._in_engine(partial(run.info, digest=digest))

    async def runs(self) -> list[RunInfo]:
        """Describe all runs, by name."""
        names = [stored.run_id for stored in await self._in_engine(self.store.runs)]
        found = [await self._find(name) for name in names]
        return [await self._in_engine(run.info) for run in found if run is not None]

    async def delete_run(self, run_id: str) -> None:
        """Remove a run with all it has."""
        run = await self._known(run_id)
        await self._in_engine(self._delete, run)

    async def export_run(self, run_id: str) -> AsyncIterator[bytes]:
        """The whole run as one file, piece by piece: its records up to now. The run goes on meanwhile."""
        run = await self._known(run_id)
        pieces = await self._in_engine(lambda: archive.write(run.stored, run.records()))
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
            return await self._in_engine(self._import, run_id, file)

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

    def encoder_state(self) -> str:
        """Whether the default encoder is "loaded", or will be when it is needed ("not loaded")."""
        return "loaded" if self.encoders.loaded(self.encoders.default) else "not loaded"

    async def version(self) -> Version:
        """What takes part in a reward here."""
        loaded = self.encoders.loaded(self.encoders.default)
        fingerprint = await self._fingerprint(self._resolve(RunConfig()), needed=False) if loaded else None
        return Version(version=metadata.version("memr"), law=LAW, encoder=fingerprint, versions=library_versions())

    # In the engine's thread

    def _commit(
        self, run: Run, request: RewardRequest, batch: Batch, submission: Submission
    ) -> tuple[bytes, Record] | None:
        """Run.reward, unless the run is not the one the batch was encoded for any more."""
        if self._runs.get(request.run_id) is not run:
            return None
        try:
            return run.reward(batch, submission)
        except ProblemError:
            raise
        except BaseException:
            # A defect: what is in memory may not be what is on disk, so the next request reads the run anew.
            self._runs.pop(request.run_id, None)
            raise

    def _load(self, run_id: str) -> Run | None:
        run = self._runs.get(run_id)
        if run is None and (stored := self.store.find(run_id)) is not None:
            if stored.law != LAW:
                raise Conflict(
                    f"Run {run_id!r} was created under law {stored.law}, this server follows law {LAW}.",
                    value=stored.law,
                    limit=LAW,
                    remedy="Serve it with the release it was created by.",
                )
            run = self._runs[run_id] = Run(stored, self.store, self._background, self.settings.snapshot_bytes)
        return run

    def _create(self, run_id: str, config: RunConfig, fingerprint: dict[str, Any] | None) -> tuple[RunInfo, bool]:
        run = self._load(run_id)
        encoder = None if fingerprint is None else orjson.dumps(fingerprint).decode()
        if run is None:
            now = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
            self.store.create(run_id, config.model_dump_json(), LAW, encoder, now)
        elif run.config == config:
            return run.info(), False
        elif run.state.position > 0:
            fields = differences(run.config, config)
            raise Conflict(
                f"Run {run_id!r} exists with another config; it differs in {', '.join(fields)}.",
                value={name: getattr(config, name) for name in fields},
                limit={name: getattr(run.config, name) for name in fields},
                remedy="Use another name, or delete the run first.",
                fields=fields,
            )
        else:
            self.store.replace(run.uid, config.model_dump_json(), encoder)
            del self._runs[run_id]
        created = self._load(run_id)
        assert created is not None
        return created.info(), run is None

    def _import(self, run_id: str, file: BinaryIO) -> RunInfo:
        header = archive.read_header(file)
        records = (
            (
                StoredRecord(0, record.position, payload),
                record.request_id,
                record.body_digest,
                answer(run_id, 0, record.position, record.chain, record.effects, record.timing_ms),
            )
            for record, payload in archive.read_records(file)
        )
        self.store.restore(run_id, header.config, LAW, header.encoder, header.created_at, records)
        run = self._load(run_id)
        assert run is not None
        return run.info()

    def _delete(self, run: Run) -> None:
        self._runs.pop(run.stored.run_id, None)
        self.store.delete(run.uid)
        self.texts.delete(run.uid)

    def _close_runs(self) -> None:
        for run in self._runs.values():
            run.close()
        self._runs.clear()
        self.texts.close()
        self.store.close()

    # Between the two

    async def _in_engine(self, function: Callable[..., T], *args: Any) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._engine, function, *args)
        except RuntimeError as error:
            if "shutdown" in str(error):
                raise Unavailable("The service is shutting down.", remedy="Try again.", retry_after=1) from None
            raise

    async def _find(self, run_id: str) -> Run | None:
        return self._runs.get(run_id) or await self._in_engine(self._load, run_id)

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
            fingerprint = await self._fingerprint(config, needed=request.embeddings is None)
            await self._in_engine(self._create_default, request.run_id, config, fingerprint)
            run = await self._known(request.run_id)
        return run

    def _create_default(self, run_id: str, config: RunConfig, fingerprint: dict[str, Any] | None) -> None:
        if self._load(run_id) is None:
            self._create(run_id, config, fingerprint)

    def _resolve(self, config: RunConfig) -> RunConfig:
        resolved = resolve(config, self.settings.default_preset, self.encoders.default)
        assert resolved.encoder is not None
        self.encoders.check(resolved.encoder)
        return resolved

    async def _fingerprint(self, config: RunConfig, *, needed: bool = True) -> dict[str, Any] | None:
        """The encoder's fingerprint; None where it cannot be had and the caller sends embeddings anyway."""
        assert config.encoder is not None
        precision = self.encoders.resolve(config.encoder, config.precision)
        try:
            return await asyncio.to_thread(self.encoders.fingerprint, config.encoder, precision, config.long_text)
        except Unavailable:
            if needed:
                raise
            return None

    async def _matching_encoder(self, run: Run) -> dict[str, Any]:
        """The fingerprint a run is bound to, once this server's encoder is found to have the same (L2)."""
        bound = None if run.stored.encoder is None else orjson.loads(run.stored.encoder)
        have = await self._fingerprint(run.config)
        if bound is None or have is None or bound != have:
            raise Conflict(
                f"Run {run.stored.run_id!r} is bound to another encoder than this server's.",
                value=have,
                limit=bound,
                remedy="Serve it with the encoder it was created with, or send embeddings.",
            )
        return have

    def _sent_embeddings(self, request: RewardRequest) -> tuple[np.ndarray, np.ndarray] | None:
        sent, n = request.embeddings, len(request.prompts)
        if sent is None or n == 0:
            return None
        prompts = inputs.matrix(sent.prompts, "prompts", n)
        completions = inputs.matrix(sent.completions, "completions", n)
        if prompts.shape[1] != completions.shape[1]:
            raise InvalidRequest(
                f"embeddings.prompts have dimension {prompts.shape[1]}, embeddings.completions {completions.shape[1]}.",
                value=[prompts.shape[1], completions.shape[1]],
                limit="one dimension",
                remedy="Embed both with the same model.",
            )
        return prompts, completions

    async def _wait_for(self, task: asyncio.Task[bytes]) -> bytes:
        """Wait for shared work; when the last of those who wait goes away, so does the work."""
        self._waiting[task] = self._waiting.get(task, 0) + 1
        try:
            return await asyncio.shield(task)
        finally:
            self._waiting[task] -= 1
            if not self._waiting[task]:
                del self._waiting[task]
                task.cancel()

    def _same_body(self, request_id: str, digest: bytes, first: bytes) -> None:
        if digest != first:
            raise InvalidRequest(
                f"request_id {request_id!r} was used before with another body.",
                value=request_id,
                limit="one body for each request_id",
                remedy="Make a new request_id for every new batch.",
            )

    def _keep_texts(self, run: Run, request: RewardRequest, record: Record) -> None:
        prompts = [inputs.prompt_text(prompt, item) for item, prompt in enumerate(request.prompts)]
        completions = [inputs.completion_text(completion) for completion in request.completions]
        self.texts.put(run.uid, record.first_serial, prompts, completions)

    def _observe(self, request: RewardRequest, replayed: bool, encoded: int, truncated: int, answer: bytes) -> None:
        if self.observers:
            fields = orjson.loads(answer)
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


LIBRARIES = ("numpy", "hnswlib", "torch", "sentence-transformers", "transformers", "fastapi", "pydantic")


def library_versions() -> dict[str, str]:
    """Python and the installed libraries that take part in a reward."""
    found = {"python": platform.python_version()}
    for name in LIBRARIES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def _truncation_warning(truncated: int, encoded: int, run: Run) -> list[str]:
    return [
        f"{truncated} of {encoded} texts ({truncated / encoded:.0%}) are longer than the encoder reads and were cut; "
        f"run {run.stored.run_id!r} has long_text='truncate', 'windows' reads them whole."
    ]
