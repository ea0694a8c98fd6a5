"""Runs the audits of a service's runs, when they are asked for, on bounded stretches of the journal."""

from __future__ import annotations

import time
from contextlib import suppress

import numpy as np
from memr_client.errors import ProblemError
from memr_client.schemas import Audits, RunConfig, Stretch

from memr_service.engine.service import Service
from memr_service.insight.audits.rules import audit, measure
from memr_service.insight.audits.stretch import StretchColumns
from memr_service.insight.journal_reader import AT_ONCE, JournalReader, RunFacts
from memr_service.insight.newest_groups import newest_groups
from memr_service.settings import Thresholds
from memr_service.state.record import Record

PER_WINDOW = 4
"""The audits behind the metrics are repeated after every quarter of a stretch that a run has taken."""


class AuditRunner:
    """Audits runs. The first stretch of a run, its baseline, is measured once."""

    def __init__(self, service: Service, thresholds: Thresholds) -> None:
        self._service = service
        self._thresholds = thresholds
        self._baselines: dict[tuple[int, int], Stretch] = {}
        """(uid, branch) -> the run's baseline."""
        self._firing: dict[str, tuple[tuple[int, int, int], int]] = {}
        """Run -> (uid, branch, quarters of a stretch taken) at the last audit, and how many alarmed then."""

    async def audits(self, run_id: str, at: int | None = None) -> Audits:
        """A run's audits as of a position (None: now).

        Raises:
            UnknownRun.
        """
        journal = JournalReader(self._service, run_id)
        facts = await journal.facts()
        last = facts.position if at is None else min(at, facts.position)
        recent = await self._measured(await self._newest(journal, facts.base, last), facts.config)
        if recent is None:
            return Audits(run_id=run_id, baseline=None, recent=None, audits=[])
        groups = await self._service.runs.on_run(run_id, newest_groups, last)
        if groups is not None and (groups.right.size or last == facts.position):
            recent = recent.model_copy(update={"spread": groups.calibration()})
        baseline = self._baselines.get((facts.uid, facts.branch))
        if baseline is None:
            baseline = await self._baseline(journal, facts)
            if baseline.completions >= self._thresholds.window and None not in baseline.raw.values():
                self._baselines[facts.uid, facts.branch] = baseline
        return Audits(run_id=run_id, baseline=baseline, recent=recent, audits=audit(recent, baseline, self._thresholds))

    async def firing(self) -> dict[str, int]:
        """Open run -> how many of its audits are in the state `alarm`."""
        firing = {}
        for run_id in self._service.runs.open_names():
            with suppress(ProblemError):  # it was deleted, or its journal cannot be read: the others are still reported
                if run_id in self._service.runs.open_names():  # it may have left memory since
                    firing[run_id] = await self._alarms(run_id)
        return firing

    async def known(self, seconds: float) -> dict[str, int]:
        """Open run -> how many of its audits alarmed when it was audited last; those never audited are left out.

        For at most about so many seconds, runs are audited anew as in `firing`.
        """
        until = time.monotonic() + seconds
        names = self._service.runs.open_names()
        for run_id in sorted(names, key=lambda run_id: run_id in self._firing):
            if time.monotonic() >= until:
                break
            with suppress(ProblemError):
                if run_id in self._service.runs.open_names():
                    await self._alarms(run_id)
        return {run_id: self._firing[run_id][1] for run_id in names if run_id in self._firing}

    async def _alarms(self, run_id: str) -> int:
        facts = await JournalReader(self._service, run_id).facts()
        when = facts.uid, facts.branch, facts.completions * PER_WINDOW // self._thresholds.window
        if run_id not in self._firing or self._firing[run_id][0] != when:
            found = await self.audits(run_id)
            self._firing[run_id] = when, sum(one.state == "alarm" for one in found.audits)
        return self._firing[run_id][1]

    async def _measured(self, records: list[Record], config: RunConfig) -> Stretch | None:
        return await self._service.readers.ask(_measure, records, config)

    async def _baseline(self, journal: JournalReader, facts: RunFacts) -> Stretch:
        """The run's first completions; for a component that warmed up later, its first raw values."""
        first = await self._measured(await self._oldest(journal, facts.base, facts.position), facts.config)
        assert first is not None
        late = [name for name, raw in first.raw.items() if raw is None]
        if late:
            after = await _warmed_up(journal, facts.base, facts.position)
            warm = await self._measured(await self._oldest(journal, after, facts.position), facts.config)
            if warm is not None:
                first = first.model_copy(update={"raw": first.raw | {name: warm.raw[name] for name in late}})
        return first

    async def _oldest(self, journal: JournalReader, after: int, last: int) -> list[Record]:
        """The records after a position that hold the completions of one stretch."""
        found, count = [], 0
        async for record in journal.records(after, last):
            found.append(record)
            count += len(record.batch)
            if count >= self._thresholds.window:
                break
        return found

    async def _newest(self, journal: JournalReader, base: int, last: int) -> list[Record]:
        """The records up to a position that hold the completions of one stretch."""
        found: list[Record] = []
        while last > base and sum(len(one.batch) for one in found) < self._thresholds.window:
            begin = max(base, last - AT_ONCE)
            found = [record async for record in journal.records(begin, last)] + found
            last = begin
        newer = np.cumsum([len(one.batch) for one in found[::-1]])[::-1]  # of each record and those after it
        return found[max(0, int(np.count_nonzero(newer >= self._thresholds.window)) - 1) :]


def _measure(records: list[Record], config: RunConfig) -> Stretch | None:
    columns = StretchColumns.of(records)
    return None if columns is None else measure(columns, config)


async def _warmed_up(journal: JournalReader, low: int, high: int) -> int:
    """The last position whose record had a component in warm-up, found by bisection; `low` if there is none."""
    while low < high:
        middle = (low + high + 1) // 2
        record = await journal.record(middle)
        low, high = (middle, high) if any(record.effects.warmup.values()) else (low, middle - 1)
    return low
