"""What the dashboard shows of a run: curves, lists, a map. Reduced here, so that little is sent."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from weakref import WeakKeyDictionary

import numpy as np
from memr_client.errors import UnknownPrompt
from memr_client.schemas import (
    Completion,
    Completions,
    HistoryRow,
    KnownPrompts,
    Map,
    MapCluster,
    MapPoint,
    MemorySize,
    MemorySizes,
    PassRatesOverSteps,
    PromptAnswer,
    PromptHistory,
    PromptKind,
)

from memr_service.engine.readers import Gate
from memr_service.engine.service import Service
from memr_service.insight.dashboard.clusters import clusters, names
from memr_service.insight.dashboard.completions import CompletionList
from memr_service.insight.dashboard.projection import Sample, project, sample
from memr_service.insight.dashboard.prompts import PromptList, known_now
from memr_service.insight.dashboard.visits import NEWEST as NEWEST_VISITS
from memr_service.insight.dashboard.visits import VisitLog, histogram
from memr_service.insight.journal_reader import JournalReader
from memr_service.run import history
from memr_service.run.run import Run
from memr_service.state.answers import Prompt
from memr_service.state.record import Record
from memr_service.store.lineage import Span

AT_ONCE = 64
"""Records whose columns are read in one visit to the run thread: rewards wait some milliseconds for it."""
KEPT, KEPT_RUNS = 2048, 4
"""The columns of the newest KEPT records of KEPT_RUNS runs stay unpacked, about 8 kB each."""
NEWEST = 20_000
"""Records whose completions are listed."""
SEARCHED = 12_000
"""Completions whose texts are searched, at most."""
SEARCHED_AT_ONCE = 1000
"""Prompts whose texts are read in one go."""
LOOKED_INTO = 256
"""Records that are read to find the completions of a prompt, or those that a guard rejected, at most."""
SHOWN_CHARS, SHOWN_FIRST = 400, 120
"""Characters of a text that are shown, and how many of them are its first; `explain` shows the whole text."""


class DashboardQueries:
    """Curves, lists and maps of a service's runs. The run thread only reads or copies; the rest is done elsewhere."""

    def __init__(self, service: Service, questions: Gate, long: Gate) -> None:
        """`questions` and `long` say how many are answered at once: of all, and of those that search texts."""
        self._service = service
        self._questions = questions
        self._long = long
        self._kept: WeakKeyDictionary[Run, tuple[list[Span], dict[int, history.Columns]]] = WeakKeyDictionary()
        """Run -> its lineage, and the columns of its records by position, which never change on one lineage."""
        self._visits: WeakKeyDictionary[Run, tuple[list[Span], VisitLog]] = WeakKeyDictionary()
        """Run -> its lineage, and the visits of its records on it."""
        self._following: WeakKeyDictionary[Run, asyncio.Lock] = WeakKeyDictionary()

    async def curve(self, run_id: str, after: int, points: int) -> list[HistoryRow]:
        """The run's steps after a position, in at most `points` rows."""
        async with self._questions.entered():
            facts = await JournalReader(self._service, run_id).facts()
            records = await self._columns(run_id, max(after, facts.base), facts.position)
            return await self._service.readers.ask(history.curve, records, facts.config.weights, points)

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
        prompt: bytes | None,
        rejected: str | None,
        text: str,
    ) -> Completions:
        """A page of the run's completions after a position, filtered and sorted as by `CompletionList.find`.

        Args:
            prompt: only completions of the prompt with this identity; None for all.
            rejected: only completions that were rejected for this reason; None for all.
            text: only completions whose prompt or completion contains it; empty for all.

        Raises:
            UnknownRun. Overloaded: too many questions wait.
            InvalidRequest: completions cannot be sorted by `sort`.
        """
        whole = not text and prompt is None and rejected is None
        async with (self._questions if whole else self._long).entered():
            journal = JournalReader(self._service, run_id)
            facts = await journal.facts()
            config, first = facts.config, max(after, facts.base, facts.position - NEWEST)
            columns = await self._columns(run_id, first, facts.position)
            listed = await self._service.readers.ask(
                CompletionList.of, columns, list(config.components), facts.completions
            )
            records: Sequence[int] | None = None if rejected is None else listed.rejecting.get(rejected, [])
            if prompt is not None:
                visited = (await self._followed(run_id)).positions(prompt)
                records = visited if records is None else [*{*records} & {*visited}]
            found = listed.find(
                sort, ascending=ascending, right=right, step=step, threshold=config.success_threshold, records=records
            )
            searched = None
            if records is not None:
                found, searched = await self._among(journal, listed, found, prompt, rejected)
            if text:
                found = found[:SEARCHED]
                searched = len(found) if searched is None else min(searched, SEARCHED)
                found = await self._with_text(facts.uid, listed, found, text)
            rows = await self._rows(journal, facts.uid, listed, found[offset : offset + limit])
        return Completions(
            rows=rows,
            matching=len(found),
            searched=searched,
            rejected=listed.rejected,
            first_position=first + 1,
            position=facts.position,
        )

    async def _among(
        self,
        journal: JournalReader,
        listed: CompletionList,
        found: np.ndarray,
        prompt: bytes | None,
        rejected: str | None,
    ) -> tuple[np.ndarray, int | None]:
        """Those of the completions found that are of a prompt and were rejected for a reason.

        And how many of them were looked at, the first; None if all of them were.
        """
        looked = listed.of_first_records(found, LOOKED_INTO)
        records = await journal.records_at({*listed.position[looked].tolist()})
        matching = np.array(
            [
                (prompt is None or records[position].batch.keys[item] == prompt)
                and (rejected is None or rejected in _reasons(records[position], item))
                for position, item in zip(listed.position[looked].tolist(), listed.item[looked].tolist(), strict=True)
            ],
            bool,
        )
        return looked[matching], len(looked) if len(looked) < len(found) else None

    async def _with_text(self, uid: int, listed: CompletionList, found: np.ndarray, text: str) -> np.ndarray:
        """Those of the completions found whose prompt or completion contains a text."""
        serials = listed.serial[found].tolist()
        matching = await self._service.readers.ask(self._service.texts.search, uid, serials, text)
        return np.asarray(found[np.array([serial in matching for serial in serials], bool)])

    async def _rows(
        self, journal: JournalReader, uid: int, listed: CompletionList, page: np.ndarray
    ) -> list[Completion]:
        positions, items = listed.position[page].tolist(), listed.item[page].tolist()
        records, serials = await journal.records_at({*positions}), listed.serial[page].tolist()
        texts = await self._texts(uid, serials)
        return [
            _row(records[position], item, *texts[serial])
            for position, item, serial in zip(positions, items, serials, strict=True)
        ]

    async def prompts(
        self,
        run_id: str,
        *,
        offset: int,
        limit: int,
        sort: str,
        ascending: bool,
        kind: PromptKind | None,
        visited: bool | None,
        text: str,
    ) -> KnownPrompts:
        """A page of the prompts that a run knows or has in its pool, filtered and sorted as by `PromptList.find`.

        Args:
            text: only prompts whose id or text contains it; empty for all.

        Raises:
            UnknownRun. Overloaded: too many questions wait. Conflict: the run has no pass rates.
            InvalidRequest: prompts cannot be sorted by `sort`.
        """
        async with self._long.entered():
            listed = await self._prompts(run_id)
            found = listed.find(sort, ascending=ascending, kind=kind, visited=visited)
            searched = None
            if text:
                found = found[:SEARCHED]
                searched = len(found)
                found = await self._matching(run_id, listed, found, text.casefold())
            page = found[offset : offset + limit]
            texts = await self._prompt_texts(run_id, [listed.key(place) for place in page.tolist()])
            return KnownPrompts(
                rows=listed.page(page, {key: _ends(one) for key, one in texts.items()}),
                matching=len(found),
                searched=searched,
                kinds=listed.counts(),
                histogram=histogram(listed.foresight),
                group_size=listed.group_size,
                position=listed.position,
            )

    async def prompt(self, run_id: str, key: bytes) -> PromptHistory:
        """A prompt's visits and answers, and what is known of it now.

        Raises:
            UnknownRun. UnknownPrompt. Overloaded: too many questions wait. Conflict: the run has no pass rates.
        """
        async with self._long.entered():
            listed = await self._prompts(run_id)
            place = listed.place(key)
            if place is None:
                raise UnknownPrompt(
                    f"Run {run_id!r} knows nothing of a prompt {key.hex()}, and its pool does not have it.",
                    value=key.hex(),
                    remedy="GET /runs/{id}/prompts lists the prompts with their keys.",
                )
            log = await self._followed(run_id)
            texts = await self._prompt_texts(run_id, [key])
            answered = await self._service.runs.on_run(run_id, _answered, key)
            return PromptHistory(
                prompt=listed.page(np.array([place]), {one: _ends(text) for one, text in texts.items()})[0],
                visits=await self._service.readers.ask(log.visits, key),
                reference=None if answered is None else answered.reference,
                answers=[] if answered is None else _answers(answered),
                first_position=log.first_position,
                position=log.position,
            )

    async def pass_rates(self, run_id: str) -> PassRatesOverSteps:
        """How the pass rates of a run's prompts moved.

        Raises:
            UnknownRun. Overloaded: too many questions wait.
        """
        async with self._long.entered():
            log = await self._followed(run_id)
            rows = await self._service.readers.ask(log.over_steps)
            return PassRatesOverSteps(rows=rows, first_position=log.first_position, group_size=log.group_size)

    async def _prompts(self, run_id: str) -> PromptList:
        candidates = await self._service.planner.candidates(run_id)
        known = await self._service.runs.on_run(run_id, known_now, candidates)
        return await self._service.readers.ask(PromptList.of, known)

    async def _matching(self, run_id: str, listed: PromptList, places: np.ndarray, wanted: str) -> np.ndarray:
        """Those of the places whose prompt's id or text contains a casefolded text."""
        named = [wanted in (listed.name(place) or "").casefold() for place in places.tolist()]
        keys = [listed.key(place) for place in places.tolist()]
        inside: set[bytes] = set()
        for start in range(0, len(keys), SEARCHED_AT_ONCE):
            texts = await self._prompt_texts(run_id, keys[start : start + SEARCHED_AT_ONCE])
            inside |= {key for key, text in texts.items() if wanted in text.casefold()}
        matching = np.array([one or key in inside for one, key in zip(named, keys, strict=True)], bool)
        return np.asarray(places[matching])

    async def _prompt_texts(self, run_id: str, keys: Sequence[bytes]) -> dict[bytes, str]:
        """The whole texts of prompts by identity, as far as they are kept."""
        log = await self._followed(run_id)
        serials = {key: log.serials[key] for key in keys if key in log.serials}
        uid = (await JournalReader(self._service, run_id).facts()).uid
        kept = await self._service.readers.ask(self._service.texts.get, uid, [*serials.values()])
        return {key: kept[serial][0] for key, serial in serials.items() if serial in kept}

    async def _followed(self, run_id: str) -> VisitLog:
        """A run's visits up to now."""
        run, lineage = await self._service.runs.on_run(run_id, _lineage)
        async with self._following.setdefault(run, asyncio.Lock()):
            journal = JournalReader(self._service, run_id)
            facts = await journal.facts()
            known, log = self._visits.pop(run, (None, None))
            if log is None or known != lineage or log.position > facts.position:
                log = VisitLog(facts.config, max(facts.base, facts.position - NEWEST_VISITS), facts.position)
            self._visits[run] = lineage, log
            for another in [*self._visits][:-KEPT_RUNS]:
                del self._visits[another]
            async for record in journal.records(log.position, facts.position):
                await self._service.readers.ask(log.add, record)
            return log

    async def map(self, run_id: str, most: int) -> Map:
        """At most `most` stored completions on a plane."""
        async with self._questions.entered():
            return await self._map(run_id, most)

    async def _map(self, run_id: str, most: int) -> Map:
        uid, taken, sizes = await self._service.runs.on_run(run_id, _sample, most)
        memory = MemorySizes(**{side: MemorySize(prompts=size[0], completions=size[1]) for side, size in sizes.items()})
        if taken is None:
            return Map(points=[], explained=(0.0, 0.0), memory=memory)
        points, explained = await self._service.readers.ask(project, taken.vectors)
        numbers = await self._service.readers.ask(clusters, taken.vectors)
        serials = taken.serials.tolist()
        texts = await self._texts(uid, serials)
        words = await self._service.readers.ask(names, numbers, [texts[serial][1] for serial in serials])
        columns = taken.memories.tolist(), serials, points.tolist(), taken.outcomes.tolist(), numbers.tolist()
        return Map(
            points=[
                MapPoint(
                    memory=side,
                    serial=serial,
                    x=x,
                    y=y,
                    outcome=outcome,
                    prompt=prompt,
                    completion=completion,
                    cluster=cluster,
                )
                for side, serial, (x, y), outcome, cluster in zip(*columns, strict=True)
                for prompt, completion in (texts[serial],)
            ],
            explained=explained,
            memory=memory,
            clusters=[
                MapCluster(words=one, points=count)
                for one, count in zip(words, np.bincount(numbers).tolist(), strict=True)
            ],
        )

    async def _columns(self, run_id: str, after: int, upto: int) -> list[history.Columns]:
        """The columns of the records after a position and up to another."""
        run, lineage = await self._service.runs.on_run(run_id, _lineage)
        known, kept = self._kept.pop(run, (lineage, {}))
        if known != lineage:
            kept = {}
        self._kept[run] = lineage, kept
        for another in [*self._kept][:-KEPT_RUNS]:
            del self._kept[another]
        found: list[history.Columns] = []
        while after < upto:
            if (one := kept.get(after + 1)) is not None:
                found.append(one)
                after += 1
                continue
            until = min(after + AT_ONCE, upto)
            read = await self._service.runs.on_run(run_id, _columns, after, until)
            kept |= {one.position: one for one in read}
            found += read
            after = until
        for position in sorted(kept)[:-KEPT]:
            del kept[position]
        return found

    async def _texts(self, uid: int, serials: Sequence[int]) -> dict[int, tuple[str | None, str | None]]:
        """Serial number -> (prompt, completion), long ones without their middle; None if they are not kept."""
        kept = await self._service.readers.ask(self._service.texts.get, uid, serials)
        short = {serial: (_ends(prompt), _ends(text)) for serial, (prompt, text) in kept.items()}
        return {serial: short.get(serial, (None, None)) for serial in serials}


def _columns(run: Run, after: int, upto: int) -> list[history.Columns]:
    """In the run thread: columns from the store."""
    return list(run.journal.columns(after, upto))


def _lineage(run: Run) -> tuple[Run, list[Span]]:
    """In the run thread."""
    return run, run.journal.lineage


def _answered(run: Run, key: bytes) -> Prompt | None:
    """In the run thread."""
    return None if run.state.answers is None else run.state.answers.about(key)


def _answers(prompt: Prompt) -> list[PromptAnswer]:
    return [
        PromptAnswer(
            answer=one.answer,
            completions=one.times,
            visits=one.visits,
            right=one.right,
            wrong=one.wrong,
            serial=one.serial,
        )
        for one in sorted(prompt.tallies, key=lambda one: (-one.times, one.number))
    ]


def _sample(run: Run, most: int) -> tuple[int, Sample | None, dict[str, list[int]]]:
    """In the run thread."""
    return run.uid, sample(run, most), run.state.sizes()


def _ends(text: str) -> str:
    """A text of at most SHOWN_CHARS characters: beginning and end, where the answer is, with an ellipsis between."""
    if len(text) <= SHOWN_CHARS:
        return text
    return f"{text[:SHOWN_FIRST]} … {text[SHOWN_FIRST + 3 - SHOWN_CHARS :]}"


def _reasons(record: Record, item: int) -> list[str]:
    """Why an item was rejected."""
    return record.effects.rejected[item] if record.effects.rejected else []


def _row(record: Record, item: int, prompt: str | None, completion: str | None) -> Completion:
    batch, effects = record.scored, record.effects
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
        rejected=_reasons(record, item),
        prompt_key=batch.keys[item].hex(),
        prompt=prompt,
        completion=completion,
    )
