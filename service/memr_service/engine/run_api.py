"""Everything that routes do to runs by name, except rewards (`Service.reward`)."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any, BinaryIO, TypeVar

import numpy as np
from memr_client.errors import ProblemError, Unavailable, UnknownRun
from memr_client.schemas import PresetName, RewardRequest, RunConfig, RunInfo

from memr_service.engine.barriers.manager import BarrierManager
from memr_service.engine.checkpoints import Checkpoints
from memr_service.engine.embedding import EmbeddingStage
from memr_service.engine.prior_runs import PriorRuns
from memr_service.engine.readers import Gate, Readers
from memr_service.engine.run_copies import RunCopies
from memr_service.engine.run_registry import RunRegistry
from memr_service.engine.run_thread import RunThread
from memr_service.run import archive
from memr_service.run.presets import resolve
from memr_service.run.remarks import remarks
from memr_service.run.run import Run
from memr_service.run.spool import Spool, temporary_file
from memr_service.settings import Settings
from memr_service.store.capabilities import Store
from memr_service.store.texts import Texts

T = TypeVar("T")

PIECES_BYTES = 1 << 18
"""Bytes of a run's file that are read in one visit to the run thread."""
TRIES = 5
"""How often a run is set up before it counts as changing too fast."""


class RunApi:
    """The runs of a store. Called from one event loop.

    Anything that only needs one run goes through `on_run`:

    await runs.on_run("run", Run.history, after, limit)
    await runs.on_run("run", runs.checkpoints.create, "step-500")
    """

    def __init__(
        self,
        settings: Settings,
        store: Store,
        embedding: EmbeddingStage,
        registry: RunRegistry,
        thread: RunThread,
        readers: Readers,
        barriers: BarrierManager,
        texts: Texts,
    ) -> None:
        self._settings = settings
        self._embedding = embedding
        self._registry = registry
        self._thread = thread
        self._readers = readers
        self._barriers = barriers
        self._texts = texts
        self._spool = Spool(settings.max_import_bytes)
        self._copies = RunCopies(store, registry)
        self._prior_runs = PriorRuns(self.get, thread, store)
        self._snapshots = store.snapshots
        self._copying = Gate("copies of runs", 1, 8)
        self.checkpoints = Checkpoints(store, registry, self._copies)

    async def on_run(self, run_id: str, function: Callable[..., T], *args: Any) -> T:
        """The result of `function(run, *args)`, called in the run thread. It must be quick.

        Raises:
            UnknownRun: there is no such run. Whatever the function raises.
        """
        return await self._thread.on_run(await self.get(run_id), function, *args)

    async def get(self, run_id: str) -> Run:
        """The run of that name. Outside the run thread only its `config`, `stored` and `uid` may be read.

        Raises:
            UnknownRun: there is none.
        """
        run = await self._find(run_id)
        if run is None:
            raise self._unknown(run_id)
        return run

    async def open(self, request: RewardRequest) -> Run | None:
        """The run that a request is for, created with the server's defaults if that is allowed.

        None if there is no such run and the request has no items: it creates none.

        Raises:
            UnknownRun: there is none, and the request may not create one.
        """
        if request.mode == "eval" or not self._settings.auto_create:
            return await self.get(request.run_id)
        run = await self._find(request.run_id)
        if run is None and request.prompts:
            config = self.resolve(RunConfig())
            fingerprint = await self._embedding.fingerprint(config, needed=request.embeddings is None)
            run = await self._thread.ask(
                self._registry.find_or_create, request.run_id, config, fingerprint, run_id=request.run_id
            )
        return run

    async def create(self, run_id: str, config: RunConfig) -> tuple[RunInfo, bool]:
        """Create a run with this config, and return whether it is new; without records its config may be replaced.

        A config that names no preset has the server's, but that of the run if it has records: a run keeps its preset
        when the server's default changes.

        Raises:
            Conflict: the run has records and another config. InvalidRequest: the config cannot be served, or a prior
                run cannot be counted. UnknownRun: there is no such prior run.
        """
        run, preset = await self._find(run_id), None
        if run is not None:
            preset = await self._thread.on_run(run, lambda run: run.config.preset if run.state.position else None)
        resolved = self.resolve(config, preset)
        fingerprint = await self._embedding.fingerprint(resolved)
        prior = None
        if run is None or run.config != resolved:  # an equal config copies nothing
            prior = await self._prior_runs.gathered(run_id, resolved)
        given = run_id, resolved, fingerprint, prior
        info, created = await self._thread.ask(self._registry.create, *given, run_id=run_id)
        return self._with_remarks(info), created

    async def describe(self, run_id: str, digest: bool = False) -> RunInfo:
        """Describe a run. `digest`: also compute the digest of its state.

        Raises:
            UnknownRun: there is none.
        """
        run = await self.get(run_id)
        info = await self._thread.on_run(run, Run.info, digest)
        return self._with_remarks(info.model_copy(update={"barrier": self._barriers.state_of(run)}))

    async def describe_all(
        self, seen: Callable[[str], bool] = lambda run_id: True, *, recent: bool = False
    ) -> list[RunInfo]:
        """Describe all runs, by name, without opening any. Other requests take their turns meanwhile.

        Args:
            seen: which runs are described, by name.
            recent: also tell of their newest steps.
        """
        everything = await self._thread.ask(self._registry.all_stored)
        left, found = deque(stored for stored in everything if seen(stored.run_id)), list[RunInfo]()
        while left:
            found += await self._thread.ask(self._registry.describe_next, left, recent)
        return found

    def open_names(self) -> list[str]:
        """Names of the runs that are in memory."""
        return self._registry.names()

    async def delete(self, run_id: str) -> None:
        """Remove a run and everything stored for it.

        Raises:
            UnknownRun: there is none.
        """
        stored = await self._thread.ask(self._registry.stored, run_id, run_id=run_id)
        if stored is None:
            raise self._unknown(run_id)
        await self._thread.ask(self._registry.delete, stored, run_id=run_id)
        self._texts.delete(stored.uid)
        await self._reclaim(run_id)

    async def _reclaim(self, run_id: str) -> None:
        """Give the space of deleted runs back. Other requests take their turns meanwhile."""
        while await self._thread.ask(self._registry.reclaim, run_id=run_id):
            pass

    async def export(self, run_id: str) -> AsyncIterator[bytes]:
        """The whole run as one file, piece by piece: its records up to now. The run may change meanwhile.

        A run that cannot be opened is exported as it is stored.

        Raises:
            UnknownRun: there is none.
        """
        pieces = await self._thread.ask(self._copies.export_named, run_id, run_id=run_id)
        if pieces is None:
            raise self._unknown(run_id)
        while some := await self._thread.ask(_next_pieces, pieces, run_id=run_id):
            yield some

    async def import_file(self, run_id: str, chunks: AsyncIterator[bytes]) -> RunInfo:
        """Create a run from a file that `export` wrote, whole or not at all.

        What does not begin like such a file is refused at once. The run gets its name once the whole file was read and
        makes a state.

        Raises:
            MalformedBody: the file is damaged. Conflict: the name is taken, or the file is of another law. TooLarge,
            StoreFull: there is no room for the file; see `Spool`. Overloaded: neither, or too many copies wait.
        """
        self._copying.require_room()
        with self._spool.upload() as upload:
            begins = b""
            async for chunk in chunks:
                if len(begins) < len(archive.MAGIC):
                    begins = (begins + chunk)[: len(archive.MAGIC)]
                    archive.check_beginning(begins)
                await self._readers.ask(upload.write, chunk)
            async with self._copying.entered():  # each has its state in memory
                return await self._import(run_id, upload.file)

    async def fork(self, run_id: str, copy: str, checkpoint: str | None) -> RunInfo:
        """Copy a run under another name, as it was at a checkpoint (None: as it is now), request ids included.

        It is an export and an import: other runs take their turns meanwhile.

        Raises:
            UnknownRun, UnknownCheckpoint: there is none. Conflict: the name is taken. Overloaded: too many copies wait.
            StoreFull: there is no room.
        """
        async with self._copying.entered():
            pieces = await self.on_run(run_id, self.checkpoints.fork, checkpoint)
            await self._thread.ask(self._copies.require_free, copy, run_id=copy)
            with temporary_file() as file:
                while some := await self._thread.ask(_next_pieces, pieces, run_id=run_id):
                    await self._readers.ask(file.write, some)
                return await self._import(copy, file)

    async def _import(self, run_id: str, file: BinaryIO) -> RunInfo:
        """Create a run from a whole file. Its records are stored by parts, and its state is saved to be opened soon."""
        file.seek(0)
        verified = await self._readers.ask(archive.verify, file)
        file.seek(0)
        parts = self._copies.import_file(run_id, file)
        try:
            while (stored := await self._thread.ask(next, parts, run_id=run_id)) is None:
                pass
        except BaseException:
            await asyncio.shield(self._thread.ask(parts.close, run_id=run_id))
            await self._reclaim(run_id)
            raise
        if verified is not None and (snapshots := self._snapshots) is not None:
            with suppress(ProblemError):  # then it is opened from its journal
                await self._readers.ask(snapshots.save, stored.uid, verified)
        del verified
        return await self._thread.ask(self._copies.open, stored, run_id=run_id)

    async def set_up(
        self, run_id: str, needed: Callable[[Run], bool] = lambda run: True, **what: Mapping[str, np.ndarray]
    ) -> None:
        """Make a pool, decisions, or what earlier runs knew part of a run, or forget prompts (`Run.set_up`).

        Args:
            needed: whether there is anything to change, as in `RunThread.set_up`.

        Raises:
            UnknownRun. StoreFull, Unavailable: the record could not be made durable, or others change the run.
        """
        for _ in range(TRIES):
            if await self._thread.set_up(await self.get(run_id), needed, **what):
                return
        raise Unavailable(f"Run {run_id!r} was changed by others at the same time.", remedy="Try again.", retry_after=1)

    def resolve(self, config: RunConfig, preset: PresetName | None = None) -> RunConfig:
        """The config with every field set.

        Args:
            preset: the preset if the config names none; None: the server's default.

        Raises:
            InvalidRequest: its fields do not go together, or this server does not offer its encoder.
        """
        encoders = self._embedding.encoders
        resolved = resolve(config, preset or self._settings.default_preset, encoders.default)
        assert resolved.encoder is not None
        encoders.check(resolved.encoder)
        return resolved

    def _with_remarks(self, info: RunInfo) -> RunInfo:
        said = remarks(info.config, self._settings.verifier_s)
        return info.model_copy(update={"warnings": [*info.warnings, *said]})

    async def _find(self, run_id: str) -> Run | None:
        return self._registry.opened(run_id) or await self._thread.ask(self._registry.find, run_id, run_id=run_id)

    def _unknown(self, run_id: str) -> UnknownRun:
        create = f"Create it with PUT /runs/{run_id} (client.create_run({run_id!r}))"
        or_train = ", or send it a training request" if self._settings.auto_create else ""
        lists = "GET /runs (client.runs()) lists those that there are."
        return UnknownRun(f"There is no run {run_id!r}.", value=run_id, remedy=f"{create}{or_train}. {lists}")


def _next_pieces(pieces: Iterator[bytes]) -> bytes:
    """In the run thread: the next `PIECES_BYTES` of a file, to the end of a piece; empty at its end."""
    some = bytearray()
    for piece in pieces:
        some += piece
        if len(some) >= PIECES_BYTES:
            break
    return bytes(some)
