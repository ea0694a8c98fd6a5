"""What a dashboard shows of a run - curves, a table, a map - reduced where it is kept, so that little is sent."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from weakref import WeakKeyDictionary

import numpy as np
from memr_client.schemas import Completion, Completions, HistoryRow, Map, MapPoint, MemorySize, MemorySizes

from memr_service.engine.service import Service
from memr_service.insight.dashboard.completions import Table
from memr_service.insight.dashboard.projection import project, sample
from memr_service.insight.journal_reader import JournalReader
from memr_service.run import history
from memr_service.run.run import Run
from memr_service.state.record import Record
from memr_service.store.lineage import Span, clipped

AT_ONCE = 64
"""Records whose columns one visit to the engine reads: some milliseconds in which rewards wait."""
KEPT, KEPT_RUNS = 2048, 4
"""Newest records of so many runs whose columns are kept unpacked, some 8 kB each, until another run is looked at."""
NEWEST = 20_000
"""Records that a table looks at."""
SEARCHED = 12_000
"""Completions whose texts a search looks through, at most."""
SHOWN_CHARS = 400
"""Of a text; `explain` shows the whole."""


class DashboardQueries:
    """Curves, tables and maps of a service's runs. The engine only reads or copies; all else is done beside it."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._kept: WeakKeyDictionary[Run, tuple[list[Span], dict[int, history.Columns]]] = WeakKeyDictionary()
        """Run -> its history, and the columns along it by position: a record's never change."""

    async def curve(self, run_id: str, after: int, points: int) -> list[HistoryRow]:
        """The run's steps behind a position in at most so many rows."""
        weights, first, last = await self._service.ask(
            run_id, lambda run: (run.config.weights, max(after, run.base), run.state.position)
        )
        records = await self._columns(run_id, first, last)
        return await asyncio.to_thread(history.curve, records, weights, points)

    async def completions(
        self,
        run_id: str,
        *,
        after: int,
        offset: int,
        limit: int,
        sort: str,
        ascending: bool,
        right: bool | None,
        step: int | None,
        text: str,
    ) -> Completions:
        """A page of the run's completions behind a position (see `Table.find`) that hold a text, if one is given.

        Raises:
            UnknownRun. InvalidRequest: there is no such column to sort by.
        """
        uid, config, first, last, taken = await self._service.ask(
            run_id,
            lambda run: (
                *(run.uid, run.config, max(after, run.base, run.state.position - NEWEST)),
                *(run.state.position, run.state.serial),
            ),
        )
        columns = await self._columns(run_id, first, last)
        table = await asyncio.to_thread(Table.of, columns, list(config.components), taken)
        found = table.find(sort, ascending=ascending, right=right, step=step, threshold=config.success_threshold)
        searched = None
        if text:
            found = found[:SEARCHED]
            searched = len(found)
            holding = await asyncio.to_thread(self._service.texts.search, uid, table.serial[found].tolist(), text)
            found = found[[serial in holding for serial in table.serial[found].tolist()]]
        page = found[offset : offset + limit]
        places = [*zip(table.position[page].tolist(), table.item[page].tolist(), strict=True)]
        ledger = JournalReader(self._service, run_id)
        records = await ledger.records_at({position for position, _ in places})
        serials = table.serial[page].tolist()
        texts = await self._texts(uid, serials)
        rows = [
            _row(records[position], item, *texts[serial])
            for (position, item), serial in zip(places, serials, strict=True)
        ]
        return Completions(rows=rows, matching=len(found), searched=searched, first_position=first + 1, position=last)

    async def map(self, run_id: str, most: int) -> Map:
        """At most so many stored completions on a plane."""
        uid, taken, sizes = await self._service.ask(run_id, lambda run: (run.uid, sample(run, most), run.state.sizes()))
        memory = MemorySizes(**{side: MemorySize(prompts=a, completions=b) for side, (a, b) in sizes.items()})
        if taken is None:
            return Map(points=[], explained=(0.0, 0.0), memory=memory)
        at, explained = await asyncio.to_thread(project, taken.vectors)
        serials = taken.serials.tolist()
        texts = await self._texts(uid, serials)
        columns = taken.memories.tolist(), serials, at.tolist(), taken.outcomes.tolist()
        points = [
            MapPoint(memory=side, serial=serial, x=x, y=y, outcome=outcome, prompt=prompt, completion=completion)
            for side, serial, (x, y), outcome in zip(*columns, strict=True)
            for prompt, completion in (texts[serial],)
        ]
        return Map(points=points, explained=explained, memory=memory)

    async def _columns(self, run_id: str, start: int, last: int) -> list[history.Columns]:
        """The columns of the records behind a position and up to another."""
        run, lineage = await self._service.ask(run_id, lambda run: (run, run.lineage))
        known, kept = self._kept.pop(run, (lineage, {}))
        if known != lineage:
            kept = {}
        self._kept[run] = lineage, kept
        for looked_at in [*self._kept][:-KEPT_RUNS]:
            del self._kept[looked_at]
        found: list[history.Columns] = []
        while start < last:
            if (one := kept.get(start + 1)) is not None:
                found.append(one)
                start += 1
                continue
            upto = min(start + AT_ONCE, last)
            read = await self._service.ask(run_id, partial(self._read, after=start, upto=upto))
            kept |= {one.position: one for one in read}
            found += read
            start = upto
        for position in sorted(kept)[:-KEPT]:
            del kept[position]
        return found

    def _read(self, run: Run, after: int, upto: int) -> list[history.Columns]:
        """Columns from the store (called in the engine's thread)."""
        return [
            history.unpack(packed, span[0])
            for span in clipped(run.lineage, max(after, run.base), upto)
            for packed in self._service.store.journal.columns(run.uid, [span])
        ]

    async def _texts(self, uid: int, serials: Sequence[int]) -> dict[int, tuple[str | None, str | None]]:
        """Beginnings of texts by serial number, None where they are not kept."""
        kept = await asyncio.to_thread(self._service.texts.get, uid, serials)
        short = {serial: (_begun(prompt), _begun(text)) for serial, (prompt, text) in kept.items()}
        return {serial: short.get(serial, (None, None)) for serial in serials}


def _begun(text: str) -> str:
    """The beginning of a text, with an ellipsis where there is more."""
    return text if len(text) <= SHOWN_CHARS else text[: SHOWN_CHARS - 1] + "…"


def _row(record: Record, item: int, prompt: str | None, completion: str | None) -> Completion:
    batch, effects = record.batch, record.effects
    raw = {name: float(values[item]) for name, values in effects.raw.items()}
    return Completion(
        position=record.position,
        item=item,
        step=batch.step,
        outcome=float(batch.outcomes[item]),
        reward=float(effects.rewards[item]),
        length=int(batch.lengths[item]),
        raw={name: None if np.isnan(value) else value for name, value in raw.items()},
        scaled={name: float(values[item]) for name, values in effects.scaled.items()},
        rejected=effects.rejected[item] if effects.rejected else [],
        prompt=prompt,
        completion=completion,
    )
