"""The audits of a service's runs: measured where they are asked for, on bounded stretches, beside the engine."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import numpy as np
from memr_client.errors import ProblemError
from memr_client.schemas import Audits, RunConfig, Stretch

from memr_service.engine.service import Service
from memr_service.insight.audits.rules import audit, measure
from memr_service.insight.audits.stretch import StretchColumns
from memr_service.insight.journal_reader import AT_ONCE, JournalReader
from memr_service.settings import Thresholds
from memr_service.state.record import Record

AFRESH = 4
"""The audits behind the metrics are made anew when a run has taken a quarter of a stretch since."""


class AuditRunner:
    """Audits runs. What a run began with is measured once."""

    def __init__(self, service: Service, thresholds: Thresholds) -> None:
        self._service = service
        self._thresholds = thresholds
        self._baselines: dict[tuple[int, int], Stretch] = {}
        self._firing: dict[str, tuple[tuple[int, int, int], int]] = {}

    async def audits(self, run_id: str, at: int | None = None) -> Audits:
        """A run's audits as of a position (None: now).

        Raises:
            UnknownRun.
        """
        uid, branch, config, base, last = await self._service.ask(
            run_id, lambda run: (run.uid, run.branch, run.config, run.base, run.state.position)
        )
        ledger = JournalReader(self._service, run_id)
        recent = await self._measured(await self._upto(ledger, base, last if at is None else min(at, last)), config)
        if recent is None:
            return Audits(run_id=run_id, baseline=None, recent=None, audits=[])
        baseline = self._baselines.get((uid, branch))
        if baseline is None:
            baseline = await self._begun(ledger, base, last, config)
            if baseline.completions >= self._thresholds.window and None not in baseline.raw.values():
                self._baselines[uid, branch] = baseline
        return Audits(run_id=run_id, baseline=baseline, recent=recent, audits=audit(recent, baseline, self._thresholds))

    async def firing(self) -> dict[str, int]:
        """Run -> audits that alarm, of the runs that are open."""
        firing = {}
        for run_id in self._service.open_runs():
            with suppress(ProblemError):  # deleted meanwhile, or its journal cannot be read: the others are told
                if run_id in self._service.open_runs():  # it may have left memory meanwhile
                    firing[run_id] = await self._alarms(run_id)
        return firing

    async def _alarms(self, run_id: str) -> int:
        uid, branch, taken = await self._service.ask(run_id, lambda run: (run.uid, run.branch, run.state.serial))
        when = uid, branch, taken * AFRESH // self._thresholds.window
        if run_id not in self._firing or self._firing[run_id][0] != when:
            found = await self.audits(run_id)
            self._firing[run_id] = when, sum(one.state == "alarm" for one in found.audits)
        return self._firing[run_id][1]

    async def _begun(self, ledger: JournalReader, base: int, last: int, config: RunConfig) -> Stretch:
        """The run's first completions; of a component that warmed up later, its first raw values."""
        first = await self._measured(await self._from(ledger, base, last), config)
        assert first is not None
        late = [name for name, raw in first.raw.items() if raw is None]
        if late:
            warm = await self._measured(await self._from(ledger, await _warmed_up(ledger, base, last), last), config)
            if warm is not None:
                first = first.model_copy(update={"raw": first.raw | {name: warm.raw[name] for name in late}})
        return first

    async def _from(self, ledger: JournalReader, after: int, last: int) -> list[Record]:
        """The records that hold a stretch's completions from a position on."""
        found, count = [], 0
        async for record in ledger.records(after, last):
            found.append(record)
            count += len(record.batch)
            if count >= self._thresholds.window:
                break
        return found

    async def _upto(self, ledger: JournalReader, base: int, last: int) -> list[Record]:
        """The records that hold a stretch's completions up to a position."""
        found: list[Record] = []
        while last > base and sum(len(one.batch) for one in found) < self._thresholds.window:
            begin = max(base, last - AT_ONCE)
            found = [record async for record in ledger.records(begin, last)] + found
            last = begin
        newer = np.cumsum([len(one.batch) for one in found[::-1]])[::-1]  # of each record and those behind it
        return found[max(0, int(np.count_nonzero(newer >= self._thresholds.window)) - 1) :]

    async def _measured(self, records: list[Record], config: RunConfig) -> Stretch | None:
        return await asyncio.to_thread(_measure, records, config)


def _measure(records: list[Record], config: RunConfig) -> Stretch | None:
    span = StretchColumns.of(records)
    return None if span is None else measure(span, config)


async def _warmed_up(ledger: JournalReader, low: int, high: int) -> int:
    """The last position at whose record something still warmed up: the search halves what is left."""
    while low < high:
        middle = (low + high + 1) // 2
        record = await ledger.record(middle)
        low, high = (middle, high) if any(record.effects.warmup.values()) else (low, middle - 1)
    return low
