"""A run's journal, read for questions while the run goes on giving rewards.

A `Run` belongs to the run thread. Only its `uid` and its `config` never change and may be read in any thread. Its
state, lineage, records and snapshots are read in the run thread. A function of this package that takes a `Run` is
called there (`RunApi.on_run`): it is quick, changes nothing, and what it gives is not changed afterwards.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from memr_client.errors import InvalidRequest
from memr_client.schemas import RunConfig

from memr_service.engine.service import Service
from memr_service.run.run import Run
from memr_service.state.codec import unseal
from memr_service.state.record import Record
from memr_service.state.state import State
from memr_service.store.base import Snapshot, StoredRecord

AT_ONCE = 16
"""Records that are read in one visit to the run thread: rewards wait about a millisecond for it."""


@dataclass(frozen=True)
class RunFacts:
    """What a question needs to know of a run, as it was at one moment."""

    uid: int
    law: int
    branch: int
    config: RunConfig
    base: int
    """The position after which the journal is kept: 0 unless it is bounded."""
    position: int
    """The position of the newest record."""
    completions: int
    """Completions that the run has taken since it began."""


@dataclass(frozen=True)
class RecordPosition:
    """The position of a record, the serial numbers of its completions, and its step."""

    position: int
    serials: range
    step: int | None


class JournalReader:
    """Reads one run's records. The positions it has looked up are remembered."""

    def __init__(self, service: Service, run_id: str) -> None:
        self._service = service
        self._run_id = run_id
        self._known: dict[int, RecordPosition] = {}

    async def facts(self) -> RunFacts:
        """The run as it is now.

        Raises:
            UnknownRun.
        """
        return await self._service.runs.on_run(self._run_id, _facts)

    async def record(self, position: int) -> Record:
        """The record at a position.

        Raises:
            InvalidRequest: there is none, or the bounded journal has dropped it.
        """
        return (await self.records_at([position]))[position]

    async def records_at(self, positions: Iterable[int]) -> dict[int, Record]:
        """The records at some positions, by position.

        Raises:
            InvalidRequest: one of them does not exist, or the bounded journal has dropped it.
        """
        wanted = sorted(positions)
        found: dict[int, Record] = {}
        for start in range(0, len(wanted), AT_ONCE):
            stored = await self._service.runs.on_run(self._run_id, _stored_at, wanted[start : start + AT_ONCE])
            found |= {record.position: record for record in await self._service.readers.ask(_unsealed, stored)}
        if missing := [position for position in wanted if position not in found]:
            raise await self._no_record(missing[0])
        return found

    async def records(self, after: int, upto: int) -> AsyncIterator[Record]:
        """The records after position `after` and up to `upto`, as far as the journal is kept."""
        while after < upto:
            stored = await self._service.runs.on_run(self._run_id, _stored_between, after, min(upto, after + AT_ONCE))
            for record in await self._service.readers.ask(_unsealed, stored):
                yield record
            if not stored:
                return
            after = stored[-1].position

    async def payloads(self, upto: int) -> AsyncIterator[bytes]:
        """The bytes of all records kept up to a position, on the branches that the run has now; one in each visit."""
        stored = await self._service.runs.on_run(self._run_id, _iterator, upto)
        while (one := await self._service.runs.on_run(self._run_id, _next, stored)) is not None:
            yield one.payload

    async def find(self, serial: int) -> RecordPosition | None:
        """The record that took a completion, found by bisection; None if the journal does not reach back to it."""
        facts = await self.facts()
        low, high = facts.base + 1, facts.position
        while low <= high:
            middle = (low + high) // 2
            if middle not in self._known:
                record = await self.record(middle)
                serials = range(record.first_serial, record.first_serial + len(record.batch))
                self._known[middle] = RecordPosition(middle, serials, record.batch.step)
            known = self._known[middle]
            if serial in known.serials:
                return known
            low, high = (low, middle - 1) if serial < known.serials.start else (middle + 1, high)
        return None

    async def require(self, serial: int) -> RecordPosition:
        """The record that took a completion.

        Raises:
            InvalidRequest: the run has not taken so many, or its journal does not reach back to it.
        """
        if (found := await self.find(serial)) is not None:
            return found
        raise InvalidRequest(
            f"The journal of run {self._run_id!r} has no completion {serial}.",
            value=serial,
            limit=(await self.facts()).completions - 1,
            remedy="Completions are counted from 0; a bounded journal has dropped the first ones.",
        )

    async def state(self, position: int) -> State:
        """The run's state after the record at a position: the newest snapshot before it, then the records since.

        Raises:
            InvalidRequest: there is no such record, or the bounded journal has dropped it.
        """
        facts = await self.facts()
        state = State(facts.config, law=facts.law)
        snapshot = await self._service.runs.on_run(self._run_id, _snapshot, position)
        if snapshot is not None:
            await self._service.readers.ask(state.restore, snapshot.branch, snapshot.position, snapshot.arrays)
        async for record in self.records(state.position, position):
            await self._service.readers.ask(state.apply, record)
        if state.position != position:
            raise await self._no_record(position)
        return state

    async def _no_record(self, position: int) -> InvalidRequest:
        facts = await self.facts()
        return InvalidRequest(
            f"Run {self._run_id!r} has no record {position}.",
            value=position,
            limit=[facts.base + 1, facts.position],
            remedy="A position is the number of a record; each response has the position of its own.",
        )


# In the run thread


def _facts(run: Run) -> RunFacts:
    return RunFacts(
        run.uid, run.law, run.journal.branch, run.config, run.journal.base, run.state.position, run.state.serial
    )


def _stored_at(run: Run, positions: Sequence[int]) -> list[StoredRecord]:
    return [one for position in positions for one in run.journal.records(position, position - 1)]


def _stored_between(run: Run, after: int, upto: int) -> list[StoredRecord]:
    return [*run.journal.records(upto, after)]


def _iterator(run: Run, upto: int) -> Iterator[StoredRecord]:
    """To be advanced by `_next` only."""
    return run.journal.records(upto)


def _next(run: Run, stored: Iterator[StoredRecord]) -> StoredRecord | None:
    return next(stored, None)


def _snapshot(run: Run, upto: int) -> Snapshot | None:
    return run.journal.snapshot(upto)


# In any thread


def _unsealed(stored: list[StoredRecord]) -> list[Record]:
    return [replace(unseal(one.payload), branch=one.branch) for one in stored]
