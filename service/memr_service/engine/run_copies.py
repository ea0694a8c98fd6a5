"""Copies of whole runs: forked under another name, or exported to a file and imported from one. Called by the run
thread."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import BinaryIO

from memr_client.errors import Conflict, ProblemError, Unavailable
from memr_client.schemas import RunConfig, RunInfo

from memr_service.engine.run_registry import RunRegistry, now
from memr_service.run import archive
from memr_service.run.journal import RunJournal, stored_record
from memr_service.run.live_state import Damaged
from memr_service.run.response import drafts, to_store
from memr_service.run.run import Run
from memr_service.store.base import Snapshot, StoredRecord, StoredRun
from memr_service.store.capabilities import Store
from memr_service.store.lineage import Span, clipped


class RunCopies:
    """Copies runs of a store. A copy is made whole or not at all."""

    def __init__(self, store: Store, registry: RunRegistry) -> None:
        self._store = store
        self._registry = registry

    def fork(self, run: Run, spans: list[Span], position: int) -> Iterator[bytes]:
        """The records of these spans of a run, up to a position, as the file of a new run, piece by piece."""
        records = self._store.journal.records(run.uid, clipped(spans, run.journal.base, position))
        stored = replace(run.stored, created_at=now())
        return archive.write(stored, _whole(records, position), self._base(run.stored, run.journal))

    def require_free(self, run_id: str) -> None:
        """Raise `Conflict` if there is a run of that name."""
        if self._registry.stored(run_id) is not None:
            raise Conflict(f"there is a run {run_id!r} already.", value=run_id, remedy="Choose another name.")

    def export(self, run: Run) -> Iterator[bytes]:
        """The whole run as one file, piece by piece: its records up to now."""
        position = run.state.position
        records = _whole(run.journal.records(position), position)
        return archive.write(run.stored, records, self._base(run.stored, run.journal))

    def export_named(self, run_id: str) -> Iterator[bytes] | None:
        """The whole run as one file, piece by piece: its records up to now. None if there is no such run.

        A run that cannot be opened is exported as it is stored.
        """
        try:
            run = self._registry.find(run_id)
        except (Conflict, Damaged):
            stored = self._registry.stored(run_id)
            if stored is None:
                return None
            journal = RunJournal(stored, self._store)
            return archive.write(stored, journal.records(), self._base(stored, journal))
        return None if run is None else self.export(run)

    def import_file(self, run_id: str, file: BinaryIO) -> Generator[StoredRun | None, None, None]:
        """Create a run from a file that `export` or `fork` wrote, and that `archive.verify` has read; by parts, as
        `Runs.restore`.

        Raises:
            MalformedBody: the file is damaged. Conflict: the name is taken, or the run's law is not known here.
        """
        header = archive.read_header(file)
        base = archive.read_base(file, header)
        config = RunConfig.model_validate_json(header.config)
        records = (
            (stored_record(replace(one, branch=0), payload), [*to_store(one, drafts(run_id, config, one))])
            for one, payload in archive.read_records(file, base)
        )
        given = run_id, header.config, header.law, header.encoder, header.created_at
        with _of_file("stored"):
            yield from self._store.runs.restore(*given, records, base)

    def open(self, stored: StoredRun) -> RunInfo:
        """Describe a run that was just made. If it cannot be opened, nothing is left of it.

        Raises:
            MalformedBody: its records do not make a state.
        """
        try:
            with _of_file("opened"):
                return self._registry.get(stored.run_id).info()
        except Exception:
            self._registry.delete(stored)
            raise

    def _base(self, stored: StoredRun, journal: RunJournal) -> Snapshot | None:
        """The state that the first record of a bounded journal follows; None if the journal is whole."""
        base = journal.base
        if not base:
            return None
        snapshots = self._store.snapshots
        assert snapshots is not None, "a journal is bounded only where snapshots are kept"
        branch = next(branch for branch, position in snapshots.kept(stored.uid) if position == base)
        found = snapshots.load(stored.uid, branch, base)
        if found is None:
            raise Unavailable(
                f"The snapshot where the journal of run {stored.run_id!r} begins is damaged.",
                value=base,
                remedy="The run still works, but cannot be copied.",
            )
        return replace(found, branch=0)


def _whole(records: Iterator[StoredRecord], position: int) -> Iterator[StoredRecord]:
    """The records up to a position. `Unavailable` if they end before, because the run was deleted meanwhile."""
    last = None
    for last in records:
        yield last
    if last is not None and last.position < position:
        raise Unavailable(
            f"The run's records end after {last.position}.", value=last.position, limit=position, remedy="Try again."
        )


@contextmanager
def _of_file(done: str) -> Iterator[None]:
    """Raise what fails because of a file as `MalformedBody`."""
    try:
        yield
    except Damaged as error:
        raise archive.damaged(error.in_one_line) from error
    except ProblemError:
        raise
    except Exception as error:
        raise archive.damaged(f"its records cannot be {done}: {type(error).__name__}") from error
