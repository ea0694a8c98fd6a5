"""Decisions about references: set by people, honoured where the service judges, and by later runs."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
from memr_client.errors import Conflict, InvalidRequest, Unavailable
from memr_client.schemas import MOST_DECISIONS, Decided, DecisionsRequest, Text
from memr_client.schemas import Decision as Given

from memr_service.engine.inputs import identity, key_of_id, text_digests
from memr_service.engine.run_api import RunApi
from memr_service.run.run import Run
from memr_service.state.answers import Prompt, canonical
from memr_service.state.decisions import Decision, Decisions
from memr_service.state.law import ANSWERS

TRIES = 100
"""How often a request begins again because somebody else has decided meanwhile."""


class DecisionBook:
    """Sets and reads the decisions of runs. Called from one event loop."""

    def __init__(self, runs: RunApi) -> None:
        self._runs = runs

    async def set(self, run_id: str, given: DecisionsRequest) -> list[Decided]:
        """Let these be the decisions of a run. Nothing changes if they are already.

        Raises:
            UnknownRun. Conflict: the run keeps no answers. InvalidRequest: a prompt comes twice. Unavailable: others
                decide at the same time.
        """
        run = await self._runs.get(run_id)
        require_answers(run)
        for _ in range(TRIES):
            before, answers = await self._runs.on_run(run_id, _known)
            decisions = await asyncio.to_thread(_decisions, given, before, answers)
            if before.digest() == decisions.digest():
                return _shown(decisions)
            with contextlib.suppress(_Changed):  # somebody else has decided meanwhile: add to that
                await self._runs.set_up(run_id, partial(_require, before=before.digest()), decisions=decisions.arrays())
                return _shown(decisions)
        raise Unavailable(f"Others decide about run {run_id!r} at the same time.", remedy="Try again.", retry_after=1)

    async def all(self, run_id: str) -> list[Decided]:
        """A run's decisions.

        Raises:
            UnknownRun. Conflict: the run keeps no answers.
        """
        require_answers(await self._runs.get(run_id))
        return _shown(await self._runs.on_run(run_id, _of))

    async def honoured(self, run_id: str, prompts: Sequence[Text], answers: Sequence[str]) -> list[str]:
        """The right answers of prompts (n): those of the data set, but where it was decided to replace them."""
        decisions = await self._runs.on_run(run_id, _of)
        if not decisions:
            return [*answers]
        texts = text_digests(prompts)
        about = [decisions.about(identity(one, None), text.tobytes()) for one, text in zip(prompts, texts, strict=True)]
        found = (None if decision is None else decision.reference for decision in about)
        return [replaced or answer for replaced, answer in zip(found, answers, strict=True)]


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


def _known(run: Run) -> tuple[Decisions, dict[bytes, bytes]]:
    """The decisions, and the prompts that have answers."""
    assert run.state.answers is not None, "runs without answers were refused"
    return run.state.decisions, run.state.answers.packed()


def _require(run: Run, before: bytes) -> bool:
    """Go on only with the decisions of this digest."""
    if run.state.decisions.digest() != before:
        raise _Changed
    return True


class _Changed(Exception):
    """The run's decisions are no longer those that were read."""


# In any thread


def _decisions(given: DecisionsRequest, before: Decisions, answers: Mapping[bytes, bytes]) -> Decisions:
    """The decisions, with what is known of their prompts.

    Args:
        before: those that the run has.
        answers: key -> a `Prompt` as bytes.

    Raises:
        InvalidRequest: a prompt comes twice, or there are too many.
    """
    found: dict[bytes, Decision] = {}
    for place, one in enumerate(given.decisions):
        text = None if one.prompt is None else _text(one.prompt, place)
        key = _key(one)
        if key in found:
            shown = one.prompt_id or key.hex()
            raise InvalidRequest(
                f"The prompt {shown[:80]!r} comes twice.", value=shown[:80], remedy="Decide about each prompt once."
            )
        prompt = Prompt.unpack(answers[key]) if key in answers else Prompt()
        reference = canonical(one.answer) if one.decision == "replace" else None
        found[key] = Decision(key, text or prompt.text, one.prompt_id or prompt.name, reference)
    others = [one for one in before if one.key not in found] if given.add else []
    if len(found) + len(others) > MOST_DECISIONS:
        raise InvalidRequest(
            f"The run would have {len(found) + len(others)} decisions.",
            value=len(found) + len(others),
            limit=MOST_DECISIONS,
            remedy="Correct the data set, and decide about what is left in a new run.",
        )
    return Decisions([*others, *found.values()])


def _key(given: Given) -> bytes:
    if given.key is not None:
        return bytes.fromhex(given.key)
    return identity(given.prompt or "", None) if given.prompt_id is None else key_of_id(given.prompt_id)


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
