"""A run's records read through the engine, a few at a time, for those who work beside it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from memr_client.errors import InvalidRequest

from memr_service.engine.service import Service
from memr_service.run.run import Run
from memr_service.state.codec import unseal
from memr_service.state.record import Record
from memr_service.state.state import State
from memr_service.store.base import StoredRecord

AT_ONCE = 16
"""Records that one visit to the engine reads: about a millisecond in which rewards wait."""


@dataclass(frozen=True)
class RecordPosition:
    """Where a record stands: its position, the serial numbers of its completions, its step."""

    position: int
    serials: range
    step: int | None


class JournalReader:
    """One run's records; where they stand is remembered once they were looked up."""

    def __init__(self, service: Service, run_id: str) -> None:
        self._service = service
        self._run_id = run_id
        self._known: dict[int, RecordPosition] = {}

    async def record(self, position: int) -> Record:
        """The record at a position.

        Raises:
            InvalidRequest: there is none, or the bounded journal has dropped it.
        """
        return (await self.records_at([position]))[position]

    async def records_at(self, positions: Iterable[int]) -> dict[int, Record]:
        """The records at some positions, by position.

        Raises:
            InvalidRequest: one of them is not there, or the bounded journal has dropped it.
        """
        wanted = sorted(positions)
        found: dict[int, Record] = {}
        for start in range(0, len(wanted), AT_ONCE):
            stored = await self._service.ask(self._run_id, partial(_at, positions=wanted[start : start + AT_ONCE]))
            found |= {record.position: record for record in await asyncio.to_thread(_opened, stored)}
        if missing := [position for position in wanted if position not in found]:
            raise await self._missing(missing[0])
        return found

    async def records(self, after: int, upto: int) -> AsyncIterator[Record]:
        """The records behind a position and up to another, as far as they are kept."""
        while after < upto:
            found = await self._read(after, min(upto, after + AT_ONCE))
            for record in await asyncio.to_thread(_opened, found):
                yield record
            if not found:
                return
            after = found[-1].position

    async def place(self, serial: int) -> RecordPosition | None:
        """The place of the record that took a completion; None where the journal does not reach back to it."""
        low, high = await self._service.ask(self._run_id, lambda run: (run.base + 1, run.state.position))
        while low <= high:
            middle = (low + high) // 2
            if middle not in self._known:
                record = await self.record(middle)
                serials = range(record.first_serial, record.first_serial + len(record.batch))
                self._known[middle] = RecordPosition(middle, serials, record.batch.step)
            place = self._known[middle]
            if serial in place.serials:
                return place
            low, high = (low, middle - 1) if serial < place.serials.start else (middle + 1, high)
        return None

    async def where(self, serial: int) -> RecordPosition:
        """As `place`.

        Raises:
            InvalidRequest: the run has not taken so many, or its journal does not reach back.
        """
        if (place := await self.place(serial)) is not None:
            return place
        taken = await self._service.ask(self._run_id, lambda run: run.state.serial)
        raise InvalidRequest(
            f"The journal of run {self._run_id!r} has no completion {serial}.",
            value=serial,
            limit=taken - 1,
            remedy="Completions are counted from 0; a bounded journal has dropped the first.",
        )

    async def state(self, position: int) -> State:
        """The run's state after the record at a position: the newest snapshot before it, and what came since."""
        config, kept = await self._service.ask(self._run_id, lambda run: (run.config, run.snapshot(position)))
        state = State(config)
        if kept is not None:
            await asyncio.to_thread(state.restore, kept.branch, kept.position, kept.arrays)
        async for record in self.records(state.position, position):
            await asyncio.to_thread(state.apply, record)
        if state.position != position:
            raise await self._missing(position)
        return state

    async def _read(self, after: int, upto: int) -> list[StoredRecord]:
        return await self._service.ask(self._run_id, lambda run: [*run.records(upto, after)])

    async def _missing(self, position: int) -> InvalidRequest:
        first, last = await self._service.ask(self._run_id, lambda run: (run.base + 1, run.state.position))
        return InvalidRequest(
            f"Run {self._run_id!r} has no record {position}.",
            value=position,
            limit=[first, last],
            remedy="Positions count records; an answer names its own.",
        )


def _at(run: Run, positions: Sequence[int]) -> list[StoredRecord]:
    return [one for position in positions for one in run.records(position, position - 1)]


def _opened(stored: list[StoredRecord]) -> list[Record]:
    return [replace(unseal(one.payload), branch=one.branch) for one in stored]
