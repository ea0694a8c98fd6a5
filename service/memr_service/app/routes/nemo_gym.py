"""`/nemo-gym/{run_id}/...`: a run as a resources server of NeMo Gym."""

from __future__ import annotations

import logging
import time
from functools import partial

from fastapi import APIRouter, Request, Response
from memr_client.errors import (
    Conflict,
    DeadlineExceeded,
    EncoderUnusable,
    MalformedBody,
    Overloaded,
    StoreFull,
    TooLarge,
    UnknownRun,
    UnsupportedMedia,
)
from memr_client.schemas import (
    NeMoGymAggregates,
    NeMoGymResults,
    NeMoGymSeed,
    NeMoGymSession,
    NeMoGymVerified,
    NeMoGymVerify,
    ReverifyMode,
)

from memr_service.app import nemo_gym
from memr_service.app.body import check_texts, parse
from memr_service.app.context import Context, InContext, RunId
from memr_service.app.disconnect import while_connected
from memr_service.app.judging import Outcomes
from memr_service.app.openapi import COMMON, body_of, operation_id, problems
from memr_service.app.patience import at_the_holder, refusals_logged, rewarded
from memr_service.engine.text_thread import in_one_step
from memr_service.run.run import Run
from memr_service.state.law import ANSWERS

router = APIRouter(tags=["reward"], generate_unique_id_function=operation_id)
logger = logging.getLogger("memr.app")

ENLARGED = "an estimator that divides by their deviation in the group"
ASK = 'add "equal_spread": {spread} to the rows of the data set'

SMALL = 1 << 14
"""Bodies of fewer bytes are worked on in the event loop."""

READING = (MalformedBody, UnknownRun, TooLarge, UnsupportedMedia)


@router.post(
    "/nemo-gym/{run_id}/verify",
    summary="Reward for NeMo Gym",
    response_model=NeMoGymVerified,
    responses=problems(*COMMON, *READING, Conflict, Overloaded, DeadlineExceeded, EncoderUnusable, StoreFull),
    openapi_extra=body_of("NeMoGymVerify"),
)
async def nemo_gym_verify(run_id: RunId, request: Request, context: InContext) -> Response:
    """Judge a rollout with the run's verifier and return outcome + memory_weight * the memory's reward.

    Rollouts come one by one and wait at the run's barrier for the others of their group. A rollout that is sent again
    gets the first one's response: it has the same `response.id`.

    In groups whose outcomes are all equal the memory's rewards are 0 unless `equal_spread` says otherwise: NeMo Gym
    does not say whether its trainer divides by the group's deviation, which would enlarge them to the whole advantage.
    """
    body = await parse(request, NeMoGymVerify, context.settings)
    request.state.n = 1
    with refusals_logged("NeMo Gym", run_id, nemo_gym.unknown_run):
        return await at_the_holder(run_id, request, context, partial(_respond, run_id, body, request, context))


@router.post(
    "/nemo-gym/{run_id}/seed_session",
    summary="Begin a session of NeMo Gym",
    response_model=NeMoGymSession,
    response_model_exclude_none=True,
    responses=problems(*COMMON, *READING),
    openapi_extra=body_of("NeMoGymSeed"),
)
async def nemo_gym_seed_session(run_id: RunId, request: Request, context: InContext) -> NeMoGymSession:
    """Refuse a run that cannot verify, before the policy writes anything. memr keeps nothing for a session."""
    body = await parse(request, NeMoGymSeed, context.settings)
    nemo_gym.check((await _run(run_id, context)).config)
    return NeMoGymSession(resources_session_id=body.resources_session_id)


@router.post(
    "/nemo-gym/{run_id}/close_session",
    summary="End a session of NeMo Gym",
    response_model=NeMoGymSession,
    response_model_exclude_none=True,
    responses=problems(*COMMON, *READING),
    openapi_extra=body_of("NeMoGymSeed"),
)
async def nemo_gym_close_session(run_id: RunId, request: Request, context: InContext) -> NeMoGymSession:
    """Confirm it. memr keeps nothing for a session."""
    body = await parse(request, NeMoGymSeed, context.settings)
    await _run(run_id, context)
    return NeMoGymSession(resources_session_id=body.resources_session_id)


@router.post(
    "/nemo-gym/{run_id}/aggregate_metrics",
    summary="Statistics over NeMo Gym's rollouts",
    responses=problems(*COMMON, *READING),
    openapi_extra=body_of("NeMoGymResults"),
)
async def nemo_gym_aggregate_metrics(run_id: RunId, request: Request, context: InContext) -> NeMoGymAggregates:
    """Mean, extremes, median and deviation of every number of the responses, over all, by task and by repeat."""
    body = await parse(request, NeMoGymResults, context.settings)
    await _run(run_id, context)
    small = len(request.state.body) < SMALL
    work = in_one_step(nemo_gym.aggregate, body.verify_responses)
    return await context.service.text_thread.ask(run_id, work, small=small)


@router.get(
    "/nemo-gym/{run_id}/reverify_mode",
    summary="Whether NeMo Gym may verify again",
    responses=problems(*COMMON, UnknownRun),
)
async def nemo_gym_reverify_mode(run_id: RunId, context: InContext) -> ReverifyMode:
    """`unsupported`: the memory has moved on, so the same rollout may earn another reward; `memr replay` and `memr
    verify` compute recorded rewards again. `stateless` if the run's `memory_weight` is 0.
    """
    return "unsupported" if (await _run(run_id, context)).config.memory_weight else "stateless"


async def _run(run_id: str, context: Context) -> Run:
    try:
        return await context.service.runs.get(run_id)
    except UnknownRun:
        raise nemo_gym.unknown_run(run_id) from None


async def _respond(run_id: str, body: NeMoGymVerify, request: Request, context: Context) -> Response:
    arrived, run = time.monotonic(), await context.service.runs.get(run_id)
    texts, config = context.service.text_thread, run.config
    small = len(request.state.body) < SMALL
    sample = await texts.ask(run_id, in_one_step(nemo_gym.read, body, config), small=small)
    equal_spread = context.equal_groups.spread(run_id, body.equal_spread, config, ENLARGED, ASK)
    outcomes = await while_connected(request, _outcome(run_id, sample, run, context))
    warnings = list(request.state.warnings)
    if late := outcomes.warning(context.settings.verifier_s, "response"):
        context.metrics.count_unjudged(1)
        logger.warning("NeMo Gym's request to run %s: %s", run_id, late)
        warnings.append(late)
    with_reference = run.law >= ANSWERS and config.extract is not None
    asked = sample.request(run_id, outcomes.outcomes, equal_spread, with_reference=with_reference)
    check_texts(asked, context.settings)
    work = rewarded(asked, context, arrived, warnings, request.state.place.leave)
    answered = await while_connected(request, work)
    writing = in_one_step(nemo_gym.verified, sample, outcomes, answered, config, late)
    return Response(await texts.ask(run_id, writing, small=small), media_type="application/json")


async def _outcome(run_id: str, sample: nemo_gym.Sample, run: Run, context: Context) -> Outcomes:
    """What the run's verifier says of a rollout."""
    assert run.config.verifier is not None
    prompts = [sample.prompt]
    answers = await context.service.decisions.honoured(run_id, prompts, [sample.answer])
    seconds = context.settings.verifier_s
    return await context.verifier_pool.outcomes(
        run_id, run.config.verifier, [sample.said], answers, seconds, "expected_answer"
    )
