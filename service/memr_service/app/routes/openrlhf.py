"""`POST /openrlhf/{run_id}`, the address for OpenRLHF's `--reward.remote_url`."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import time
from collections.abc import Sequence
from typing import Annotated, Literal

import orjson
from fastapi import APIRouter, Query, Request, Response
from memr_client.errors import (
    Conflict,
    DeadlineExceeded,
    EncoderUnusable,
    MalformedBody,
    Overloaded,
    ProblemError,
    StoreFull,
    TooLarge,
    Unavailable,
    UnknownRun,
    UnsupportedMedia,
)
from memr_client.schemas import OpenRLHFRequest, OpenRLHFResponse, RunConfig
from starlette.requests import ClientDisconnect

from memr_service.app import openrlhf
from memr_service.app.body import parse
from memr_service.app.context import Context, InContext, RunId
from memr_service.app.disconnect import unless_disconnected
from memr_service.app.openapi import COMMON, body_of, problems
from memr_service.app.openrlhf.verifier_pool import Outcomes
from memr_service.engine.barriers import HeldElsewhere

router = APIRouter(tags=["reward"])
logger = logging.getLogger("memr.app")

PATIENCE_S = 150.0
"""Seconds for which a busy service is tried again. OpenRLHF disconnects after 180 s and gives up after five errors in a
row."""

Mode = Annotated[Literal["train", "eval"], Query(description="`eval` does not change the run, whatever labels say.")]
EqualSpread = Annotated[
    float | None,
    Query(ge=0, allow_inf_nan=False, description="Used in place of the run's `equal_spread`. Default: 0."),
]


@router.post(
    "/openrlhf/{run_id}",
    summary="Rewards for OpenRLHF",
    response_model=OpenRLHFResponse,
    responses=problems(
        *COMMON,
        MalformedBody,
        UnknownRun,
        Conflict,
        TooLarge,
        UnsupportedMedia,
        Overloaded,
        DeadlineExceeded,
        EncoderUnusable,
        StoreFull,
    ),
    openapi_extra=body_of("OpenRLHFRequest"),
)
async def openrlhf_reward(
    run_id: RunId, request: Request, context: InContext, mode: Mode = "train", equal_spread: EqualSpread = None
) -> Response:
    """OpenRLHF's remote-reward protocol, for `--reward.remote_url http://HOST:PORT/openrlhf/RUN?key=KEY`.

    The run's verifier compares the completions with their labels. A reward is that outcome + memory_weight * the
    memory's reward. Samples come one by one and wait at the run's barrier for the others of their group.

    In groups whose outcomes are all equal the memory's rewards are 0 unless `equal_spread` says otherwise: OpenRLHF
    does not say whether its estimator is `group_norm`, which would enlarge them to the whole advantage.

    OpenRLHF sends no request ids. If a connection was closed without a response, the next request with the same body is
    its retry; otherwise an equal body is another sample.
    """
    body = await parse(request, OpenRLHFRequest, context.settings)
    if body.equal_spread is None:
        body = body.model_copy(update={"equal_spread": equal_spread})
    request.state.n = len(body.query)
    arrived = time.monotonic()
    while True:
        try:
            await context.service.barriers.of(await context.service.runs.get(run_id))
            return await _respond(run_id, body, mode, request, context)
        except HeldElsewhere as elsewhere:  # the holder of the barrier also keeps the abandoned requests
            with contextlib.suppress(HeldElsewhere):
                return await context.forward(request, elsewhere)
            if time.monotonic() - arrived > PATIENCE_S:
                raise
            await asyncio.sleep(1)
        except ProblemError as problem:
            if isinstance(problem, UnknownRun):
                problem = openrlhf.unknown_run(run_id)
            # OpenRLHF shows its user only the status.
            logger.warning("OpenRLHF's request was refused: %s", problem.in_one_line)
            raise problem from None


async def _respond(
    run_id: str, body: OpenRLHFRequest, mode: Literal["train", "eval"], request: Request, context: Context
) -> Response:
    """The response of the abandoned request with this body, or of a new one."""
    digest = hashlib.sha256(orjson.dumps([run_id, mode, body.model_dump()], option=orjson.OPT_SORT_KEYS)).digest()
    work = context.abandoned.take(digest)
    if work is None:
        work = asyncio.create_task(_reward(run_id, body, mode, context, request.state.warnings))
        work.add_done_callback(_mark_retrieved)
    try:
        content = await unless_disconnected(request, work)
    except ClientDisconnect:
        context.abandoned.add(digest, work)
        raise
    return Response(content, media_type="application/json")


async def _reward(
    run_id: str, body: OpenRLHFRequest, mode: Literal["train", "eval"], context: Context, warnings: Sequence[str]
) -> bytes:
    """The response's JSON. OpenRLHF does not show warnings, so the log has them too.

    Args:
        warnings: about the body.
    """
    for warning in warnings:
        logger.warning("OpenRLHF's request to run %s: %s", run_id, warning)
    arrived = time.monotonic()
    config = (await context.service.runs.get(run_id)).config
    samples = openrlhf.read(body, config, mode)
    equal_spread = context.equal_groups.spread(run_id, body.equal_spread, config)
    judged = await _judged(body, config, samples, context)
    if late := judged.warning(context.settings.verifier_s):
        context.metrics.count_unjudged(sum(judged.unjudged))
        logger.warning("OpenRLHF's request to run %s: %s", run_id, late)
        warnings = [*warnings, late]
    reward_request = samples.request(run_id, judged.outcomes, body.request_id, equal_spread)
    while True:
        try:
            deadline = time.monotonic() + context.settings.deadline_s
            rewarded = await context.service.reward(reward_request, deadline, 0.0, warnings)
        except HeldElsewhere:
            raise
        except (Overloaded, Unavailable) as busy:
            if context.lifecycle.state != "serving" or time.monotonic() - arrived > PATIENCE_S:
                raise
            await asyncio.sleep(busy.retry_after or 1)
        else:
            return openrlhf.response(samples, judged, rewarded, config).model_dump_json().encode()


async def _judged(body: OpenRLHFRequest, config: RunConfig, samples: openrlhf.Samples, context: Context) -> Outcomes:
    """The outcomes that were sent, or those of the run's verifier."""
    if body.outcomes is not None or config.verifier is None:  # without a verifier, `read` has refused any sample
        return Outcomes(body.outcomes or [], [False] * len(body.outcomes or []))
    seconds = context.settings.verifier_s
    return await context.verifier_pool.outcomes(config.verifier, samples.completions, samples.answers, seconds)


def _mark_retrieved(work: asyncio.Task[bytes]) -> None:
    """Mark the exception as retrieved, so that asyncio does not log it if nobody awaits the work any more."""
    if not work.cancelled():
        work.exception()
