"""A run's journal, read for its calibration while the run goes on."""

from __future__ import annotations

import asyncio
from functools import partial

from memr_client.errors import Conflict
from memr_client.schemas import Calibration

from memr_service.engine.service import Service
from memr_service.insight.calibration.rules import NEEDED, propose
from memr_service.insight.calibration.survey import Survey
from memr_service.state.codec import unseal


async def calibrate(service: Service, run_id: str) -> Calibration:
    """Limits for a run's guards, from its records up to now as far as they are kept.

    The engine's thread reads one record at a time, so that rewards wait no longer than for each other; counting is done
    in another thread.

    Raises:
        UnknownRun. Conflict: the run has too few right completions, or a preset that takes no guards.
    """
    run = await service.ask(run_id, lambda run: run)
    position, completions = await service.ask(run_id, lambda run: (run.state.position, run.state.serial))
    if run.config.order == "official":
        raise Conflict(
            f"Run {run_id!r} has the preset {run.config.preset!r}, which scores as the released code does: unguarded.",
            value=run.config.preset,
            remedy="Calibrate a run of another preset on the same task.",
        )
    survey, records = Survey(run.config, completions), run.records(position)
    texts = partial(service.texts.get, run.uid)
    while (stored := await service.ask(run_id, lambda _: next(records, None))) is not None:
        await asyncio.to_thread(lambda payload: survey.add(unseal(payload), texts), stored.payload)
    survey.finish()
    right = survey.topic.seen().right
    if right < NEEDED:
        raise Conflict(
            f"Run {run_id!r} has {right} right completions so far, too few to calibrate on.",
            value=right,
            limit=NEEDED,
            remedy=f"Ask again when it has {NEEDED} (right: above success_threshold {run.config.success_threshold:g}).",
        )
    return propose(survey, run_id, position)
