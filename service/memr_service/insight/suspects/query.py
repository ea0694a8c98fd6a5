"""The question for suspects: copies of what runs know, what is found in them, and the texts that show it."""

from __future__ import annotations

from collections.abc import Sequence

from memr_client.schemas import RunSays, SuspectEvidence, SuspectLabel, Suspects, SuspectVerdict

from memr_service.engine.decisions import require_answers
from memr_service.engine.service import Service
from memr_service.insight.suspects.find import CALIBRATED_ON, Found, Known, Label, Verdict, find, known_now

DIGITS = 6
"""Decimals of shares and probabilities."""
SHOWN_CHARS = 400
"""Characters of a text that are shown."""


async def suspects(
    service: Service, run_id: str, min_probability: float, prior: float, limit: int, others: Sequence[str]
) -> Suspects:
    """The suspects among a run's references and verdicts.

    Args:
        prior: share of the references that are expected to be wrong.
        others: names of runs whose answers count too.

    Raises:
        UnknownRun. Conflict: one of the runs has no answers.
    """
    known = [await _known(service, name) for name in dict.fromkeys([run_id, *others])]
    found = await service.readers.ask(find, known[0], known[1:], min_probability, prior, limit)
    uid = (await service.runs.get(run_id)).uid
    serials = [one.serial for one in found.labels if one.serial is not None]
    serials += [one.serial for one in found.verdicts]
    texts = await service.readers.ask(service.texts.get, uid, serials)
    return _response(found, known[0], min_probability, texts)


async def _known(service: Service, run_id: str) -> Known:
    run = await service.runs.get(run_id)
    require_answers(run)
    return await service.runs.on_run(run_id, known_now)


def _response(found: Found, known: Known, min_probability: float, texts: dict[int, tuple[str, str]]) -> Suspects:
    return Suspects(
        run_id=known.name,
        runs=found.runs,
        position=known.position,
        prompts=found.prompts,
        decided=found.decided,
        accused=found.accused,
        min_probability=min_probability,
        calibrated_on=CALIBRATED_ON,
        labels=[_label(one, *_beginnings(texts, one.serial)) for one in found.labels],
        verdicts=[_verdict(one, *_beginnings(texts, one.serial)) for one in found.verdicts],
    )


def _label(one: Label, prompt: str | None, example: str | None) -> SuspectLabel:
    return SuspectLabel(
        prompt_id=one.name,
        key=one.key.hex(),
        prompt=prompt,
        reference=one.reference,
        answer=one.answer,
        share=round(one.share, DIGITS),
        visits=one.visits,
        probability=round(one.probability, DIGITS),
        evidence=SuspectEvidence(
            counts=one.counts,
            says_reference=one.says_reference,
            completions=one.completions,
            visits=one.visits,
            sources=one.sources,
            shares=[round(share, DIGITS) for share in one.shares],
            slope=None if one.slope is None else round(one.slope, DIGITS) + 0.0,  # -0.0 is 0.0
            changes=one.changes,
            runs=[
                RunSays(
                    run=says.run,
                    answer=says.answer,
                    completions=says.times,
                    of=says.of,
                    accuracy=None if says.accuracy is None else round(says.accuracy, DIGITS),
                )
                for says in one.says
            ],
            example=example,
        ),
    )


def _verdict(one: Verdict, prompt: str | None, example: str | None) -> SuspectVerdict:
    return SuspectVerdict(
        kind="missed" if one.missed else "wrong",
        prompt_id=one.name,
        key=one.key.hex(),
        prompt=prompt,
        reference=one.reference,
        answer=one.answer,
        completions=one.times,
        others=one.others,
        example=example,
    )


def _beginnings(texts: dict[int, tuple[str, str]], serial: int | None) -> tuple[str | None, str | None]:
    """The beginnings of a completion's prompt and of the completion; None where they are not kept."""
    if serial is None or serial not in texts:
        return None, None
    prompt, completion = texts[serial]
    return _short(prompt), _short(completion)


def _short(text: str) -> str:
    return text if len(text) <= SHOWN_CHARS else text[: SHOWN_CHARS - 1] + "…"
