"""`POST /openrlhf/{run_id}`, the address for OpenRLHF's `--reward.remote_url`."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Literal

import orjson
from fastapi import APIRouter, Query, Request, Response
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
from memr_client.schemas import OpenRLHFRequest, OpenRLHFResponse, RewardRequest, RunConfig
from starlette.requests import ClientDisconnect

from memr_service.app import openrlhf
from memr_service.app.body import parse
from memr_service.app.context import Context, InContext, RunId
from memr_service.app.disconnect import unless_disconnected, while_connected
from memr_service.app.judging import Outcomes
from memr_service.app.openapi import COMMON, body_of, operation_id, problems
from memr_service.app.patience import at_the_holder, refusals_logged, rewarded
from memr_service.engine.inputs import json_pieces
from memr_service.engine.text_thread import are_small, in_one_step
from memr_service.run.response import Response as Rewarded
from memr_service.state.law import ANSWERS

router = APIRouter(tags=["reward"], generate_unique_id_function=operation_id)
logger = logging.getLogger("memr.app")

ENLARGED, ASK = "OpenRLHF's estimator group_norm", "add ?equal_spread={spread} to the address"

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
    with refusals_logged("OpenRLHF", run_id, openrlhf.unknown_run):
        # The holder of the barrier also keeps the abandoned requests.
        return await at_the_holder(run_id, request, context, partial(_respond, run_id, body, mode, request, context))


@dataclass(frozen=True)
class _Judged:
    """A request whose texts have been read and judged."""

    config: RunConfig
    samples: openrlhf.Samples
    outcomes: Outcomes
    asked: RewardRequest
    warnings: Sequence[str]


async def _respond(
    run_id: str, body: OpenRLHFRequest, mode: Literal["train", "eval"], request: Request, context: Context
) -> Response:
    """The response of the abandoned request with this body, or of a new one.

    A request is kept for its caller's retry once it is judged; before that its work ends when the caller leaves.
    """
    texts, small = context.service.text_thread, are_small(body.query, body.prompts)
    digest = await texts.ask(run_id, in_one_step(_digest, run_id, body, mode), small=small)
    work = context.abandoned.take(digest)
    if work is None:
        arrived = time.monotonic()
        judged = await while_connected(request, _judge(run_id, body, mode, context, request.state.warnings))
        work = asyncio.create_task(_reward(judged, context, arrived, request.state.place.leave))
        work.add_done_callback(_mark_retrieved)
    else:
        request.state.place.leave()
    try:
        content = await unless_disconnected(request, work)
    except ClientDisconnect:
        context.abandoned.add(digest, work)
        raise
    return Response(content, media_type="application/json")


async def _judge(
    run_id: str, body: OpenRLHFRequest, mode: Literal["train", "eval"], context: Context, warnings: Sequence[str]
) -> _Judged:
    """The request's samples with their outcomes. OpenRLHF does not show warnings, so the log has them too.

    Args:
        warnings: about the body.
    """
    for warning in warnings:
        logger.warning("OpenRLHF's request to run %s: %s", run_id, warning)
    run = await context.service.runs.get(run_id)
    config = run.config
    reading = openrlhf.read(body, config, mode)
    texts, small = context.service.text_thread, are_small(body.query, body.prompts)
    samples = await texts.ask(run_id, reading, small=small and config.prompt_pattern is None)
    equal_spread = context.equal_groups.spread(run_id, body.equal_spread, config, ENLARGED, ASK)
    outcomes = await _outcomes(run_id, body, config, samples, context)
    if late := outcomes.warning(context.settings.verifier_s, "query[{item}]"):
        context.metrics.count_unjudged(sum(outcomes.unjudged))
        logger.warning("OpenRLHF's request to run %s: %s", run_id, late)
        warnings = [*warnings, late]
    with_references = run.law >= ANSWERS and config.extract is not None
    asking = in_one_step(
        partial(samples.request, with_references=with_references),
        *(run_id, outcomes.outcomes, body.request_id, equal_spread),
    )
    asked = await texts.ask(run_id, asking, small=small)
    return _Judged(config, samples, outcomes, asked, warnings)


async def _outcomes(
    run_id: str, body: OpenRLHFRequest, config: RunConfig, samples: openrlhf.Samples, context: Context
) -> Outcomes:
    """The outcomes that were sent, or those of the run's verifier."""
    if body.outcomes is not None or config.verifier is None:  # without a verifier, `read` has refused any sample
        return Outcomes(body.outcomes or [], [False] * len(body.outcomes or []))
    seconds = context.settings.verifier_s
    answers = await context.service.decisions.honoured(run_id, samples.prompts, samples.answers)
    return await context.verifier_pool.outcomes(run_id, config.verifier, samples.completions, answers, seconds)


async def _reward(judged: _Judged, context: Context, arrived: float, waits: Callable[[], object]) -> bytes:
    """The response's JSON.

    Args:
        arrived: `time.monotonic()` when the request came.
        waits: called when the request begins to wait for others.
    """
    answered = await rewarded(judged.asked, context, arrived, judged.warnings, waits)
    run_id, small = judged.asked.run_id, are_small(judged.asked.completions)
    return await context.service.text_thread.ask(run_id, in_one_step(_json, judged, answered), small=small)


def _json(judged: _Judged, rewarded: Rewarded) -> bytes:
    return openrlhf.response(judged.samples, judged.outcomes, rewarded, judged.config).model_dump_json().encode()


def _digest(run_id: str, body: OpenRLHFRequest, mode: str) -> bytes:
    """By which a retry is recognised."""
    digest = hashlib.sha256(orjson.dumps([run_id, mode]))
    for piece in json_pieces(dict(body)):
        digest.update(piece)
    return digest.digest()


def _mark_retrieved(work: asyncio.Task[bytes]) -> None:
    """Mark the exception as retrieved, so that asyncio does not log it if nobody awaits the work any more."""
    if not work.cancelled():
        work.exception()
