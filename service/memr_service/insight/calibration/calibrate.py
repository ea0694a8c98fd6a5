"""Reads a run's journal for its calibration, while the run goes on."""

from __future__ import annotations

from functools import partial

from memr_client.errors import Conflict
from memr_client.schemas import Calibration

from memr_service.engine.service import Service
from memr_service.insight.calibration.rules import NEEDED, propose
from memr_service.insight.calibration.survey import Survey
from memr_service.insight.journal_reader import JournalReader
from memr_service.state.codec import unseal


async def calibrate(service: Service, run_id: str) -> Calibration:
    """Limits for a run's guards, from its records up to now, as far as they are kept.

    The run thread reads one record at a time, so that rewards wait no longer for it than for each other. Another thread
    counts.

    Raises:
        UnknownRun.
        Conflict: the run has too few right completions, or a preset without guards.
    """
    journal = JournalReader(service, run_id)
    facts = await journal.facts()
    config = facts.config
    if config.order == "official":
        raise Conflict(
            f"Run {run_id!r} has the preset {config.preset!r}, which scores as the released code does, without guards.",
            value=config.preset,
            remedy="Calibrate a run of another preset on the same task.",
        )
    survey, texts = Survey(config, facts.completions), partial(service.texts.get, facts.uid)
    async for payload in journal.payloads(facts.position):
        await service.readers.ask(lambda one: survey.add(unseal(one), texts), payload)
    survey.finish()
    right = survey.topic.seen().right
    if right < NEEDED:
        raise Conflict(
            f"Run {run_id!r} has {right} right completions so far, too few to calibrate on.",
            value=right,
            limit=NEEDED,
            remedy=f"Ask again when it has {NEEDED} (right: above success_threshold {config.success_threshold:g}).",
        )
    return propose(survey, run_id, facts.position)
