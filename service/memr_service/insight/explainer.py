"""Answers `POST /runs/{id}/explain`: gathers what an explanation needs from the run, its journal and its texts."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial

from memr_client.errors import InvalidRequest
from memr_client.schemas import Explain, Explanation, MemoryRead, RewardRequest

from memr_service.engine import inputs
from memr_service.engine.service import Service
from memr_service.insight.explanation import explain, read, read_frozen
from memr_service.insight.journal_reader import JournalReader
from memr_service.rewards.score import score
from memr_service.run.run import Run
from memr_service.state.record import Batch, Record
from memr_service.state.state import State


class Explainer:
    """Explains rewards of a service's runs."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def explain(self, run_id: str, question: Explain, warnings: Sequence[str] = ()) -> Explanation:
        """How the reward of a prompt and completion would come about now, or how that of a stored item did.

        Args:
            warnings: what the caller should know about the body that the question was read from.

        Raises:
            UnknownRun.
            InvalidRequest: there is no such record or item.
            Conflict: the run is bound to another encoder.
        """
        journal = JournalReader(self._service, run_id)
        if question.serial is not None:
            record = await journal.require(question.serial)
            item = record.serials.index(question.serial)
            question = Explain(position=record.position, item=item, neighbours=question.neighbours)
        if question.position is None:
            explanation = await self._of_given(run_id, question, warnings)
        else:
            explanation = await self._of_stored(journal, run_id, question)
        return await self._with_neighbours(journal, explanation)

    async def _of_given(self, run_id: str, question: Explain, warnings: Sequence[str]) -> Explanation:
        """Of a prompt and completion, scored as `mode="eval"` would."""
        assert question.prompt is not None
        assert question.completion is not None
        request = RewardRequest(
            run_id=run_id,
            mode="eval",
            prompts=[question.prompt],
            completions=[question.completion],
            outcomes=[question.outcome],
            prompt_ids=None if question.prompt_id is None else [question.prompt_id],
            embeddings=question.embeddings,
        )
        items = inputs.read(request, time.monotonic() + self._service.settings.deadline_s, warnings=warnings)
        run = await self._service.runs.get(run_id)
        embedded = await self._service.embedding.batch(run, items)
        explanation = await self._service.runs.on_run(
            run_id, partial(_explain_now, batch=embedded.batch, most=question.neighbours)
        )
        texts = {"prompt": items.prompts[0], "completion": embedded.completions[0]}
        return explanation.model_copy(update={**texts, "warnings": embedded.warnings})

    async def _of_stored(self, journal: JournalReader, run_id: str, question: Explain) -> Explanation:
        """Of an item of a record, on the state before that record."""
        assert question.position is not None
        assert question.item is not None
        record, item = await journal.record(question.position), question.item
        if item >= len(record.batch):
            raise InvalidRequest(
                f"Record {question.position} has no item {item}.",
                value=item,
                limit=len(record.batch) - 1,
                remedy="Items are counted from 0 over all requests that the record answered.",
            )
        state = await journal.state(question.position - 1)
        readings = await self._readings(journal, state, record, item, question.neighbours)
        explanation = explain(run_id, state, record.scored, item, record.effects, readings)
        serial = record.first_serial + item
        prompt, completion = (await self._texts(journal, [serial])).get(serial, (None, None))
        return explanation.model_copy(update={"prompt": prompt, "completion": completion})

    async def _readings(
        self, journal: JournalReader, state: State, record: Record, item: int, most: int
    ) -> dict[str, MemoryRead]:
        """What a stored item read: under the barrier `snapshot` at the position at which its group began."""
        batch = record.scored
        if state.config.barrier == "snapshot":
            group = state.open_groups.get(batch.group_names[batch.group[item]])
            first = None if group is None else await journal.find(group.serials[0])
            began = state if first is None else await journal.state(first.position - 1)
            return await self._service.readers.ask(read_frozen, began, record, item, most)
        return await self._service.readers.ask(
            partial(read, state, batch, item, most, write=True, first_serial=record.first_serial)
        )

    async def _with_neighbours(self, journal: JournalReader, explanation: Explanation) -> Explanation:
        """The explanation with its neighbours' texts and steps, as far as these are kept."""
        sides = explanation.success, explanation.failure
        texts = await self._texts(journal, [one.serial for side in sides for one in side.neighbours])

        async def with_texts(side: MemoryRead) -> MemoryRead:
            neighbours = []
            for one in side.neighbours:
                record = await journal.find(one.serial)
                prompt, completion = texts.get(one.serial, (None, None))
                update = {"prompt": prompt, "completion": completion, "step": record.step if record else None}
                neighbours.append(one.model_copy(update=update))
            return side.model_copy(update={"neighbours": neighbours})

        success, failure = [await with_texts(side) for side in sides]
        return explanation.model_copy(update={"success": success, "failure": failure})

    async def _texts(self, journal: JournalReader, serials: Sequence[int]) -> dict[int, tuple[str, str]]:
        """Serial number -> (prompt, completion), of those that are kept."""
        uid = (await journal.facts()).uid
        return await self._service.readers.ask(self._service.texts.get, uid, serials)


def _explain_now(run: Run, batch: Batch, most: int) -> Explanation:
    """In the run thread: how the reward of a batch's one item would come about now."""
    run.check_dimension(batch)
    effects = score(run.state, batch, write=False)
    readings = read(run.state, batch, 0, most, write=False, first_serial=run.state.serial)
    return explain(run.stored.run_id, run.state, batch, 0, effects, readings)
