"""Copies of whole runs: forked under another name, or exported to a file and imported from one. Called by the run
thread."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
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
from memr_service.state.codec import unseal
from memr_service.state.record import Record
from memr_service.store.base import Snapshot, StoredRun
from memr_service.store.capabilities import Store
from memr_service.store.lineage import Span, clipped


class RunCopies:
    """Copies runs of a store. A copy is made whole or not at all."""

    def __init__(self, store: Store, registry: RunRegistry) -> None:
        self._store = store
        self._registry = registry

    def fork(self, run: Run, run_id: str, spans: list[Span]) -> RunInfo:
        """Copy the records of these spans of a run, and their responses, into a new run.

        Raises:
            Conflict: the name is taken.
        """
        records = (
            (replace(unseal(stored.payload), branch=0), stored.payload)
            for stored in self._store.journal.records(run.uid, clipped(spans, run.journal.base))
        )
        base = self._base(run.stored, run.journal)
        return self._copy(run_id, run.law, run.stored.config, run.stored.encoder, now(), records, base)

    def export(self, run: Run) -> Iterator[bytes]:
        """The whole run as one file, piece by piece: its records up to now."""
        records = run.journal.records(run.state.position)
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

    def import_file(self, run_id: str, file: BinaryIO) -> RunInfo:
        """Create a run from a file that `export` wrote, and that `archive.verify` has read.

        Raises:
            MalformedBody: the file is damaged. Conflict: the name is taken, or the run's law is not known here.
        """
        header = archive.read_header(file)
        base = archive.read_base(file, header)
        records = archive.read_records(file, base)
        try:
            return self._copy(run_id, header.law, header.config, header.encoder, header.created_at, records, base)
        except Damaged as error:
            raise archive.damaged(error.in_one_line) from error
        except ProblemError:
            raise
        except Exception as error:
            raise archive.damaged(f"its records cannot be stored: {type(error).__name__}") from error

    def _copy(
        self,
        run_id: str,
        law: int,
        config: str,
        encoder: str | None,
        created_at: str,
        records: Iterable[tuple[Record, bytes]],
        base: Snapshot | None,
    ) -> RunInfo:
        known = RunConfig.model_validate_json(config)
        stored = (
            (stored_record(replace(one, branch=0), payload), [*to_store(one, drafts(run_id, known, one))])
            for one, payload in records
        )
        copy = self._store.runs.restore(run_id, config, law, encoder, created_at, stored, base)
        try:
            return self._registry.get(run_id).info()
        except Exception:
            self._registry.delete(copy)
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
