"""Decisions about references: set by people, honoured where the service judges, and by later runs."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import numpy as np
from memr_client.errors import Conflict, InvalidRequest
from memr_client.schemas import Decided, DecisionsRequest, Text
from memr_client.schemas import Decision as Given

from memr_service.engine.inputs import identity, key_of_id, text_digests
from memr_service.engine.run_api import RunApi
from memr_service.run.run import Run
from memr_service.state.answers import canonical
from memr_service.state.decisions import Decision, Decisions
from memr_service.state.law import ANSWERS
from memr_service.state.pass_rates import TEXT_BYTES


class DecisionBook:
    """Sets and reads the decisions of runs. Called from one event loop."""

    def __init__(self, runs: RunApi) -> None:
        self._runs = runs

    async def set(self, run_id: str, given: DecisionsRequest) -> list[Decided]:
        """Let these be all decisions of a run. Nothing changes if they are already.

        Raises:
            UnknownRun. Conflict: the run keeps no answers. InvalidRequest: a prompt comes twice.
        """
        run = await self._runs.get(run_id)
        require_answers(run)
        decisions = await asyncio.to_thread(_decisions, given.decisions)
        before = await self._runs.on_run(run_id, _of)
        if before.digest() != decisions.digest():
            await self._runs.set_up(run_id, decisions=decisions.arrays())
        return _shown(decisions)

    async def all(self, run_id: str) -> list[Decided]:
        """A run's decisions.

        Raises:
            UnknownRun. Conflict: the run keeps no answers.
        """
        require_answers(await self._runs.get(run_id))
        return _shown(await self._runs.on_run(run_id, _of))

    async def honoured(self, run_id: str, prompts: Sequence[str], answers: Sequence[str]) -> list[str]:
        """The right answers of prompts (n): those of the data set, but where it was decided to replace them."""
        decisions = await self._runs.on_run(run_id, _of)
        if not decisions:
            return [*answers]
        found: dict[str, str | None] = {}
        for prompt in {*prompts}:
            decision = decisions.about(identity(prompt, None), text_digests([prompt])[0].tobytes())
            found[prompt] = None if decision is None else decision.reference
        return [found[prompt] or answer for prompt, answer in zip(prompts, answers, strict=True)]


def require_answers(run: Run) -> None:
    """Refuse a run that keeps no answers.

    Raises:
        Conflict: it was created under an earlier law.
    """
    if run.law < ANSWERS:
        raise Conflict(
            f"Run {run.stored.run_id!r} was created under law {run.law}, so it keeps no answers.",
            value=run.law,
            limit=ANSWERS,
            remedy="Create a new run; runs keep answers from then on.",
        )


# In the run thread


def _of(run: Run) -> Decisions:
    return run.state.decisions


# In any thread


def _decisions(given: Sequence[Given]) -> Decisions:
    found: dict[bytes, Decision] = {}
    for place, one in enumerate(given):
        text = bytes(TEXT_BYTES) if one.prompt is None else _text(one.prompt, place)
        key = identity(one.prompt or "", None) if one.prompt_id is None else key_of_id(one.prompt_id)
        if key in found:
            shown = one.prompt_id if one.prompt_id is not None else f"decisions[{place}]"
            raise InvalidRequest(
                f"The prompt {shown[:80]!r} comes twice.", value=shown[:80], remedy="Decide about each prompt once."
            )
        reference = canonical(one.answer) if one.decision == "replace" else None
        found[key] = Decision(key, text, one.prompt_id, reference)
    return Decisions([*found.values()])


def _text(prompt: Text, place: int) -> bytes:
    try:
        return bytes(np.asarray(text_digests([prompt])[0]).tobytes())
    except UnicodeEncodeError:
        raise InvalidRequest(
            f"decisions[{place}] has a lone surrogate in its prompt, which no encoding can carry.",
            limit="valid Unicode",
        ) from None


def _shown(decisions: Decisions) -> list[Decided]:
    return [
        Decided(
            key=one.key.hex(),
            prompt_id=one.name,
            decision="keep" if one.reference is None else "replace",
            answer=one.reference,
        )
        for one in decisions
    ]
