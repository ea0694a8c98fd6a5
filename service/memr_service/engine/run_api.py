"""Runs and their checkpoints by name, as the routes call them: everything but rewards, which `service` gives."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

from memr_client.errors import UnknownRun
from memr_client.schemas import Checkpoint, HistoryRow, RewardRequest, RunConfig, RunInfo

from memr_service.encoder import Encoders
from memr_service.encoder.batcher import Batcher
from memr_service.engine.barriers.manager import BarrierManager
from memr_service.engine.embedding import EmbeddingStage
from memr_service.engine.run_registry import RunRegistry
from memr_service.engine.run_thread import RunThread
from memr_service.run.live_state import Limits
from memr_service.run.presets import resolve
from memr_service.run.run import Run
from memr_service.settings import Settings
from memr_service.state.record import Record
from memr_service.store.capabilities import Store
from memr_service.store.texts import Texts

T = TypeVar("T")


class RunApi:
    """The runs of a store. Called from one event loop."""

    def __init__(self, settings: Settings, store: Store, encoders: Encoders | None = None) -> None:
        self.settings = settings
        self.store = store
        self.encoders = encoders or Encoders(settings.allowed_encoders, settings.device)
        self.batcher = Batcher(self.encoders, settings.max_queue_texts)
        self.embedder = EmbeddingStage(self.encoders, self.batcher)
        texts_file = None if store.directory is None else store.directory / "texts.db"
        self.texts = Texts(texts_file, settings.text_quota_bytes, settings.text_max_age_days)
        self._background = ThreadPoolExecutor(2, "memr-background")  # a snapshot need not wait for a graph
        limits = Limits(settings.snapshot_bytes, settings.journal_bytes, 60 * settings.idle_minutes)
        self._runs = RunRegistry(store, self._background, limits)
        self._thread = RunThread(self._runs)
        self.barriers = BarrierManager(store.leases, settings.address, self._thread, self._runs, self._keep_texts)

    # Runs

    async def create_run(self, run_id: str, config: RunConfig) -> tuple[RunInfo, bool]:
        """Create a run, or find it as it should be; at position 0 another config replaces the first.

        Raises:
            Conflict: the run has records and another config.
        """
        resolved = self._resolve(config)
        fingerprint = await self.embedder.fingerprint(resolved)
        return await self._thread.ask(self._runs.create, run_id, resolved, fingerprint)

    async def run(self, run_id: str, digest: bool = False) -> RunInfo:
        """Describe a run."""
        run = await self._known(run_id)
        info = await self._thread.ask(partial(run.info, digest=digest))
        return info.model_copy(update={"barrier": self.barriers.state_of(run)})

    async def require_barrier(self, run_id: str) -> None:
        """Return where this service keeps the run's barrier, or it has none.

        Raises:
            Elsewhere: another service keeps it.
        """
        await self.barriers.of(await self._known(run_id))

    async def config(self, run_id: str) -> RunConfig:
        """A run's resolved config."""
        return (await self._known(run_id)).config

    async def runs(self) -> list[RunInfo]:
        """Describe all runs, by name."""
        return await self._thread.ask(self._runs.describe)

    def open_runs(self) -> list[str]:
        """Names of the runs that are in memory."""
        return self._runs.names()

    async def ask(self, run_id: str, question: Callable[[Run], T]) -> T:
        """What a function says of a run, asked in the engine's thread: it should be quick, and change nothing."""
        return await self._thread.ask(question, await self._known(run_id))

    async def history(self, run_id: str, after: int = 0, limit: int = 1000) -> list[HistoryRow]:
        """A run's steps as statistics, from the record after position `after` on."""
        run = await self._known(run_id)
        return await self._thread.ask(run.history, after, limit)

    async def delete_run(self, run_id: str) -> None:
        """Remove a run with all it has."""
        run = await self._known(run_id)
        await self._thread.ask(self._runs.delete, run)
        self.texts.delete(run.uid)

    async def export_run(self, run_id: str) -> AsyncIterator[bytes]:
        """The whole run as one file, piece by piece: its records up to now. The run goes on meanwhile."""
        run = await self._known(run_id)
        pieces = await self._thread.ask(self._runs.archive, run)
        while piece := await self._thread.ask(next, pieces, b""):
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
            return await self._thread.ask(self._runs.read_archive, run_id, file)

    # Checkpoints

    async def create_checkpoint(self, run_id: str, name: str, step: int | None = None) -> Checkpoint:
        """Name the run's present position; a name that exists moves. Nothing is copied."""
        run = await self._known(run_id)
        return await self._thread.ask(self._runs.set_checkpoint, run, name, step)

    async def checkpoints(self, run_id: str) -> list[Checkpoint]:
        """A run's checkpoints, the oldest first."""
        run = await self._known(run_id)
        return await self._thread.ask(self._runs.checkpoints, run)

    async def delete_checkpoint(self, run_id: str, name: str) -> None:
        """Remove a name; the history it named stays."""
        run = await self._known(run_id)
        await self._thread.ask(self._runs.delete_checkpoint, run, name)

    async def restore(self, run_id: str, checkpoint: str) -> RunInfo:
        """Bring memories, windows, counters and request ids back to a checkpoint, on a new branch (L13)."""
        run = await self._known(run_id)
        return await self._thread.ask(self._runs.restore, run, checkpoint)

    async def fork(self, run_id: str, new_run_id: str, checkpoint: str | None = None) -> RunInfo:
        """Copy a run under another name, as it was at a checkpoint or as it is, request ids included."""
        run = await self._known(run_id)
        return await self._thread.ask(self._runs.fork, run, new_run_id, checkpoint)

    # What both need

    async def _find(self, run_id: str) -> Run | None:
        return self._runs.opened(run_id) or await self._thread.ask(self._runs.find, run_id)

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
            run = await self._thread.ask(self._runs.create_unless_there, request.run_id, config, fingerprint)
        return run

    def _resolve(self, config: RunConfig) -> RunConfig:
        resolved = resolve(config, self.settings.default_preset, self.encoders.default)
        assert resolved.encoder is not None
        self.encoders.check(resolved.encoder)
        return resolved

    def _keep_texts(self, run: Run, record: Record, prompts: Sequence[str], completions: Sequence[str]) -> None:
        """Keep the texts of a record's items once its response was sent."""
        if run.config.store_text:
            self._thread.after_response(partial(self.texts.put, run.uid, record.first_serial, prompts, completions))
