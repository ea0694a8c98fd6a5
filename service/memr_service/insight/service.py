"""Where questions about runs are answered: beside the main path, in threads and processes of their own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from functools import partial

from memr_client.errors import InvalidRequest
from memr_client.schemas import Audits, Explain, Explanation, MemoryRead, Provenance, RewardRequest, RunConfig

from memr_service.engine import inputs
from memr_service.engine.service import Service
from memr_service.insight.audits.runner import AuditRunner
from memr_service.insight.dashboard.queries import DashboardQueries
from memr_service.insight.explain import explain, read, read_pinned
from memr_service.insight.journal_reader import JournalReader
from memr_service.insight.provenance import provenance
from memr_service.insight.replay import worker
from memr_service.insight.replay.replay import what_if
from memr_service.rewards.score import score
from memr_service.run.run import Run


class InsightService:
    """Answers questions about a service's runs, from the service's event loop."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._turn = asyncio.Semaphore(1)
        self._monitor = AuditRunner(service, service.settings.audits)
        self.gallery = DashboardQueries(service)
        """What there is to look at."""

    async def audits(self, run_id: str, at: int | None = None) -> Audits:
        """Whether a run is collapsing, as of a position (None: now)."""
        return await self._monitor.audits(run_id, at)

    async def firing(self) -> dict[str, int]:
        """Open run -> how many of its audits alarm, for metrics."""
        return await self._monitor.firing()

    async def provenance(self, run_id: str) -> Provenance:
        """What a paper must cite of a run."""
        return await self._service.ask(run_id, provenance)

    async def replay(self, run_id: str, given: Sequence[RunConfig]) -> AsyncIterator[bytes]:
        """Lines of `ReplayLine`: the run's journal up to now, scored under each of these settings. One at a time.

        Raises:
            UnknownRun. InvalidRequest: a setting cannot be replayed. Both before the first line.
        """
        config, base, completions = await self._service.ask(
            run_id, lambda run: (run.config, run.base, run.state.serial)
        )
        settings = [what_if(config, one, bounded=base > 0) for one in given]
        return self._replayed(run_id, settings, completions)

    async def explain(self, run_id: str, asked: Explain) -> Explanation:
        """How the reward of a prompt and completion would come about now, or how a stored item's did.

        Raises:
            UnknownRun. InvalidRequest: no such record or item. Conflict: the run is bound to another encoder.
        """
        ledger = JournalReader(self._service, run_id)
        if asked.serial is not None:
            place = await ledger.where(asked.serial)
            asked = Explain(
                position=place.position, item=place.serials.index(asked.serial), neighbours=asked.neighbours
            )
        if asked.position is None:
            told = await self._explain_given(run_id, asked)
        else:
            told = await self._explain_stored(ledger, run_id, asked)
        return await self._with_texts(ledger, run_id, told)

    async def _explain_given(self, run_id: str, asked: Explain) -> Explanation:
        assert asked.prompt is not None
        assert asked.completion is not None
        request = RewardRequest(
            run_id=run_id,
            mode="eval",
            prompts=[asked.prompt],
            completions=[asked.completion],
            outcomes=[asked.outcome],
            prompt_ids=None if asked.prompt_id is None else [asked.prompt_id],
            embeddings=asked.embeddings,
        )
        items = inputs.read(request, time.monotonic() + self._service.settings.deadline_s)
        run = await self._service.ask(run_id, lambda run: run)
        batch = (await self._service.embedder.batch(run, items)).batch

        def explained(run: Run) -> Explanation:
            run.check_dimension(batch)
            effects = score(run.state, batch, write=False)
            readings = read(run.state, batch, 0, asked.neighbours, write=False, first_serial=run.state.serial)
            return explain(run_id, run.state, batch, 0, effects, readings)

        told = await self._service.ask(run_id, explained)
        return told.model_copy(update={"prompt": items.prompts[0], "completion": items.completions[0]})

    async def _explain_stored(self, ledger: JournalReader, run_id: str, asked: Explain) -> Explanation:
        assert asked.position is not None
        assert asked.item is not None
        record, item, most = await ledger.record(asked.position), asked.item, asked.neighbours
        if item >= len(record.batch):
            raise InvalidRequest(
                f"Record {asked.position} has no item {item}.",
                value=item,
                limit=len(record.batch) - 1,
                remedy="Items are counted from 0 over all requests that the record answered.",
            )
        state = await ledger.state(asked.position - 1)
        if state.config.barrier == "snapshot":
            batch = record.batch
            begun = state.open_groups.get(batch.group_names[batch.group[item]])
            first = None if begun is None else await ledger.place(begun.serials[0])
            pinned = state if first is None else await ledger.state(first.position - 1)
            readings = await asyncio.to_thread(read_pinned, pinned, record, item, most)
        else:
            serial = record.first_serial
            readings = await asyncio.to_thread(
                partial(read, state, record.batch, item, most, write=True, first_serial=serial)
            )
        told = explain(run_id, state, record.batch, item, record.effects, readings)
        uid = await self._service.ask(run_id, lambda run: run.uid)
        texts = await asyncio.to_thread(self._service.texts.get, uid, [record.first_serial + item])
        prompt, completion = texts.get(record.first_serial + item, (None, None))
        return told.model_copy(update={"prompt": prompt, "completion": completion})

    async def _with_texts(self, ledger: JournalReader, run_id: str, told: Explanation) -> Explanation:
        """The explanation with its neighbours' texts, where they are still kept, and steps."""
        uid = await self._service.ask(run_id, lambda run: run.uid)
        wanted = [one.serial for reading in (told.success, told.failure) for one in reading.neighbours]
        texts = await asyncio.to_thread(self._service.texts.get, uid, wanted)

        async def whole(reading: MemoryRead) -> MemoryRead:
            neighbours = []
            for one in reading.neighbours:
                place = await ledger.place(one.serial)
                prompt, completion = texts.get(one.serial, (None, None))
                about = {"prompt": prompt, "completion": completion, "step": place.step if place else None}
                neighbours.append(one.model_copy(update=about))
            return reading.model_copy(update={"neighbours": neighbours})

        return told.model_copy(update={"success": await whole(told.success), "failure": await whole(told.failure)})

    async def _replayed(self, run_id: str, settings: Sequence[RunConfig], completions: int) -> AsyncIterator[bytes]:
        async with self._turn:
            async for line in worker.work(self._service.export_run(run_id), run_id, settings, completions):
                yield line
