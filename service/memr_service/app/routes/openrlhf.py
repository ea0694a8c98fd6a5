"""`POST /openrlhf/{run_id}`: the address for `--reward.remote_url`."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import time
from typing import Annotated, Literal

import orjson
from fastapi import APIRouter, Query, Request, Response
from memr_client.errors import (
    Conflict,
    DeadlineExceeded,
    MalformedBody,
    Overloaded,
    ProblemError,
    StoreFull,
    TooLarge,
    Unavailable,
    UnknownRun,
    UnsupportedMedia,
)
from memr_client.schemas import OpenRLHFRequest, OpenRLHFResponse
from starlette.requests import ClientDisconnect

from memr_service.app import openrlhf
from memr_service.app.body import parse
from memr_service.app.context import Context, InContext, RunId
from memr_service.app.disconnect import waited_for
from memr_service.app.openapi import GUARDED, body_of, problems
from memr_service.engine.barriers import HeldElsewhere

router = APIRouter(tags=["reward"])
logger = logging.getLogger("memr.app")

PATIENCE_S = 150.0
"""A busy service is waited for so long; OpenRLHF hangs up after 180 s, and gives up after five refusals in a row."""

Mode = Annotated[Literal["train", "eval"], Query(description="`eval` leaves the run as it is, whatever labels say.")]


@router.post(
    "/openrlhf/{run_id}",
    summary="Rewards for OpenRLHF",
    response_model=OpenRLHFResponse,
    responses=problems(
        *GUARDED,
        MalformedBody,
        UnknownRun,
        Conflict,
        TooLarge,
        UnsupportedMedia,
        Overloaded,
        DeadlineExceeded,
        StoreFull,
    ),
    openapi_extra=body_of("OpenRLHFRequest"),
)
async def openrlhf_reward(run_id: RunId, request: Request, context: InContext, mode: Mode = "train") -> Response:
    """OpenRLHF's remote-reward protocol, for `--reward.remote_url http://HOST:PORT/openrlhf/RUN?key=KEY`.

    The run's verifier judges the completions by their labels; a reward is that outcome + memory_weight * the memory's
    reward. Samples come one by one and wait at the run's barrier for the others of their group. Whoever sends a body
    again because its connection was closed without an answer takes the seat of the first; else an equal body is another
    sample.
    """
    body = await parse(request, OpenRLHFRequest, context.settings)
    request.state.n = len(body.query)
    arrived = time.monotonic()
    while True:
        try:
            await context.service.require_barrier(run_id)
            return await _seated(run_id, body, mode, request, context)
        except HeldElsewhere as elsewhere:  # and so are the seats that were left
            with contextlib.suppress(HeldElsewhere):
                return await context.relay(request, elsewhere)
            if time.monotonic() - arrived > PATIENCE_S:
                raise
            await asyncio.sleep(1)
        except ProblemError as refusal:
            # OpenRLHF shows its user the status and no more.
            logger.warning("OpenRLHF is refused: %s", refusal)
            raise


async def _seated(
    run_id: str, body: OpenRLHFRequest, mode: Literal["train", "eval"], request: Request, context: Context
) -> Response:
    """The answer at the seat that was left with this body, or at a new one."""
    digest = hashlib.sha256(orjson.dumps([run_id, mode, body.model_dump()], option=orjson.OPT_SORT_KEYS)).digest()
    work = context.seats.take(digest)
    if work is None:
        work = asyncio.create_task(_reward(run_id, body, mode, context))
        work.add_done_callback(_heard)
    try:
        answer = await waited_for(request, work)
    except ClientDisconnect:
        context.seats.leave(digest, work)
        raise
    return Response(answer, media_type="application/json")


async def _reward(run_id: str, body: OpenRLHFRequest, mode: Literal["train", "eval"], context: Context) -> bytes:
    """The answer's JSON."""
    arrived = time.monotonic()
    config = await context.service.config(run_id)
    samples = openrlhf.read(body, config, mode)
    outcomes = body.outcomes or []
    if body.outcomes is None and config.verifier is not None:  # without one, `read` has refused all but nothing
        outcomes = await context.judge.outcomes(config.verifier, samples.completions, samples.answers)
    scored = samples.request(run_id, outcomes, body.request_id)
    while True:
        try:
            rewarded = await context.service.reward(scored, time.monotonic() + context.settings.deadline_s)
        except HeldElsewhere:
            raise
        except (Overloaded, Unavailable) as busy:
            if context.lifecycle.state != "serving" or time.monotonic() - arrived > PATIENCE_S:
                raise
            await asyncio.sleep(busy.retry_after or 1)
        else:
            return openrlhf.response(samples, outcomes, rewarded, config).model_dump_json().encode()


def _heard(work: asyncio.Task[bytes]) -> None:
    """Nobody need be there any more to hear that the work failed."""
    if not work.cancelled():
        work.exception()
