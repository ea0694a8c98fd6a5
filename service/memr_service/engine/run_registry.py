"""All runs of a store by name: opened, created, changed and closed. Called by one thread, the engine's."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any, BinaryIO

import orjson
from memr_client.errors import Conflict, ProblemError, Unavailable, UnknownCheckpoint, UnknownRun
from memr_client.schemas import Checkpoint, RunConfig, RunInfo

from memr_service.run import archive
from memr_service.run.live_state import Limits, Rewound
from memr_service.run.presets import LAW, differences
from memr_service.run.response import drafts, to_store
from memr_service.run.run import Run, stored_record
from memr_service.state.codec import unseal
from memr_service.state.record import Record
from memr_service.store.base import AlreadyAnswered, Moved, Snapshot, StoredCheckpoint, StoredRun
from memr_service.store.capabilities import Store
from memr_service.store.lineage import clipped, lineage

logger = logging.getLogger("memr.engine")


class RunRegistry:
    """The runs of a store, each in memory from when it is first asked for."""

    def __init__(self, store: Store, background: Executor, limits: Limits) -> None:
        self.on_forget: list[Callable[[Run], None]] = []
        """Called with each `Run` that must not be used any more."""
        self.rewinds = 0
        """How often a run was found to have lost records in a shared store, and was read again."""
        self._store = store
        self._background = background
        self._limits = limits
        self._open: dict[str, Run] = {}

    def names(self) -> list[str]:
        """The runs that are in memory (safe from any thread)."""
        return list(self._open)

    def opened(self, run_id: str) -> Run | None:
        """The run, if it is in memory and nobody else can have changed it (safe from any thread)."""
        return self._open.get(run_id) if self._store.shared is None else None

    def holds(self, run: Run) -> bool:
        """Whether a run is still in use (safe from any thread)."""
        return self._open.get(run.stored.run_id) is run

    def find(self, run_id: str) -> Run | None:
        """The run as it is in the store, read from there if need be; None if there is none of that name.

        Raises:
            Conflict: it was created under another law.
        """
        self._leave_idle(run_id)
        if (run := self._open.get(run_id)) is not None:
            with self.using(run):
                run.catch_up()
                return run
        if (stored := self._store.runs.find(run_id)) is not None:
            self._open[run_id] = self._read(stored)
        return self._open.get(run_id)

    def describe(self) -> list[RunInfo]:
        """Describe all runs, by name."""
        found = (self.find(stored.run_id) for stored in self._store.runs.all())
        return [run.info() for run in found if run is not None]

    def create(self, run_id: str, config: RunConfig, encoder: dict[str, Any] | None) -> tuple[RunInfo, bool]:
        """Create a run, or find it as it should be; before its first record another config replaces the first.

        Raises:
            Conflict: the run has records and another config.
        """
        run = self.find(run_id)
        created = run is None and self._create(run_id, config, encoder)
        if run is None:
            run = self._existing(run_id)
        if run.config == config:
            return run.info(), created
        if run.state.position == 0:
            self._store.runs.replace(run.uid, config.model_dump_json(), _packed(encoder))
            self.forget(run)
        else:
            fields = differences(run.config, config)
            raise Conflict(
                f"Run {run_id!r} exists with another config; it differs in {', '.join(fields)}.",
                value=config.model_dump(mode="json", include=set(fields)),
                limit=run.config.model_dump(mode="json", include=set(fields)),
                remedy="Use another name, or delete the run first.",
                fields=fields,
            )
        return self._existing(run_id).info(), False

    def _create(self, run_id: str, config: RunConfig, encoder: dict[str, Any] | None) -> bool:
        """Create a run; False if another process has just done so."""
        try:
            self._store.runs.create(run_id, config.model_dump_json(), LAW, _packed(encoder), _now())
        except Conflict:
            return False
        return True

    def create_unless_there(self, run_id: str, config: RunConfig, encoder: dict[str, Any] | None) -> Run:
        """The run of that name, created with this config if there is none."""
        run = self.find(run_id)
        if run is None:
            self._create(run_id, config, encoder)
        return run or self._existing(run_id)

    @contextmanager
    def using(self, run: Run) -> Iterator[None]:
        """Do something to a run within; forget the run if that shows that its memory is out of date.

        If another process has changed or deleted the run, or answered the request, what is done within ends early and
        nothing is raised.
        """
        try:
            yield
        except AlreadyAnswered:
            pass
        except (Moved, UnknownRun) as error:
            logger.info("run %s is read again: %s", run.stored.run_id, error)
            self.rewinds += isinstance(error, Rewound)
            self.forget(run)
        except ProblemError:
            raise
        except BaseException:
            # A defect: what is in memory may not be what is on disk, so the next request reads the run again.
            logger.error("run %s is read again: a change of it failed", run.stored.run_id)
            self.forget(run)
            raise

    def tidy(self) -> None:
        """Let the store do what would make a later commit slow."""
        self._store.tidy()

    def forget(self, run: Run) -> None:
        """Let the run be read anew when it is next asked for."""
        if self.holds(run):
            del self._open[run.stored.run_id]
            for call in self.on_forget:
                call(run)

    def _leave_idle(self, wanted: str) -> None:
        """Close runs that have given no rewards in a long time, but for the one wanted now."""
        since = time.monotonic() - self._limits.idle_s
        for run in [run for name, run in self._open.items() if name != wanted and run.used_at < since]:
            try:
                run.close()
            except ProblemError as error:  # then it takes longer to read it again
                logger.warning("run %s leaves memory without a snapshot: %s", run.stored.run_id, error)
            self.forget(run)

    def delete(self, run: Run) -> None:
        """Remove a run with all it has."""
        self.forget(run)
        self._store.runs.delete(run.uid)

    def close(self) -> None:
        """Leave a snapshot of each run."""
        for run in self._open.values():
            run.close()
        self._open.clear()

    def read_archive(self, run_id: str, file: BinaryIO) -> RunInfo:
        """Create a run from a file that `archive.write` made, whole or not at all."""
        header = archive.read_header(file)
        base = archive.read_base(file, header)
        records = archive.read_records(file, base)
        return self._copy(run_id, header.config, header.encoder, header.created_at, records, base)

    def archive(self, run: Run) -> Iterator[bytes]:
        """The whole run as one file, piece by piece: its records up to now."""
        return archive.write(run.stored, run.records(run.state.position), self._base(run))

    def set_checkpoint(self, run: Run, name: str, step: int | None) -> Checkpoint:
        """Name the run's present position; a name that exists moves. Nothing is copied."""
        stored = StoredCheckpoint(name, run.branch, run.state.position, step, _now())
        self._store.checkpoints.set(run.uid, stored)
        return Checkpoint(**vars(stored))

    def checkpoints(self, run: Run) -> list[Checkpoint]:
        """A run's checkpoints, the oldest first."""
        return [Checkpoint(**vars(stored)) for stored in self._store.checkpoints.all(run.uid)]

    def delete_checkpoint(self, run: Run, name: str) -> None:
        """Remove a name; the history it named stays."""
        self._checkpoint(run, name)
        self._store.checkpoints.delete(run.uid, name)

    def restore(self, run: Run, name: str) -> RunInfo:
        """Bring the run back to a checkpoint, on a new branch; the abandoned one stays readable (L13)."""
        checkpoint = self._checkpoint(run, name)
        run.close()
        self._store.journal.add_branch(run.uid, checkpoint.branch, checkpoint.position)
        self.forget(run)
        return self._existing(run.stored.run_id).info()

    def fork(self, run: Run, run_id: str, name: str | None) -> RunInfo:
        """Copy a run under another name, as it was at a checkpoint (None: as it is), request ids included."""
        spans = run.lineage
        if name is not None:
            checkpoint = self._checkpoint(run, name)
            spans = lineage(self._store.journal.branches(run.uid), checkpoint.branch, checkpoint.position)
        records = (
            (replace(unseal(stored.payload), branch=0), stored.payload)
            for stored in self._store.journal.records(run.uid, clipped(spans, run.base))
        )
        return self._copy(run_id, run.stored.config, run.stored.encoder, _now(), records, self._base(run))

    def _read(self, stored: StoredRun) -> Run:
        if stored.law != LAW:
            raise Conflict(
                f"Run {stored.run_id!r} was created under law {stored.law}, this server follows law {LAW}.",
                value=stored.law,
                limit=LAW,
                remedy="Serve it with the release it was created by.",
            )
        return Run(stored, self._store, self._background, self._limits)

    def _existing(self, run_id: str) -> Run:
        run = self.find(run_id)
        assert run is not None
        return run

    def _base(self, run: Run) -> Snapshot | None:
        """What the first records kept follow; None where the journal is whole."""
        if not run.base:
            return None
        snapshots = self._store.snapshots
        assert snapshots is not None, "a journal is bounded only where snapshots are kept"
        branch = next(branch for branch, position in snapshots.kept(run.uid) if position == run.base)
        found = snapshots.load(run.uid, branch, run.base)
        if found is None:
            raise Unavailable(
                f"The snapshot where the journal of run {run.stored.run_id!r} begins is damaged.",
                value=run.base,
                remedy="The run goes on, but cannot be copied.",
            )
        return replace(found, branch=0)

    def _copy(
        self,
        run_id: str,
        config: str,
        encoder: str | None,
        created_at: str,
        records: Iterator[tuple[Record, bytes]],
        base: Snapshot | None = None,
    ) -> RunInfo:
        """A new run with the records of another, answers included."""
        stored = (
            (stored_record(replace(one, branch=0), payload), [*to_store(one, drafts(run_id, one))])
            for one, payload in records
        )
        self._store.runs.restore(run_id, config, LAW, encoder, created_at, stored, base)
        return self._existing(run_id).info()

    def _checkpoint(self, run: Run, name: str) -> StoredCheckpoint:
        known = {one.name: one for one in self._store.checkpoints.all(run.uid)}
        if name not in known:
            raise UnknownCheckpoint(
                f"Run {run.stored.run_id!r} has no checkpoint {name!r}.",
                value=name,
                limit=list(known),
                remedy="List them with GET /runs/{id}/checkpoints.",
            )
        return known[name]


def _packed(encoder: dict[str, Any] | None) -> str | None:
    return None if encoder is None else orjson.dumps(encoder).decode()


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds")
