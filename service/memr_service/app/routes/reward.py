"""`POST /reward`."""

from __future__ import annotations

import time
from typing import Any

from fastapi import APIRouter, Request, Response
from memr_client.errors import (
    Conflict,
    DeadlineExceeded,
    EncoderUnusable,
    InvalidRequest,
    MalformedBody,
    Overloaded,
    StoreFull,
    TooLarge,
    UnknownRun,
    UnsupportedMedia,
)
from memr_client.schemas import RewardRequest, RewardResponse

from memr_service.app.body import parse
from memr_service.app.context import Context
from memr_service.app.disconnect import while_connected
from memr_service.app.openapi import COMMON, body_of, operation_id, problems
from memr_service.engine.barriers import HeldElsewhere

router = APIRouter(tags=["reward"], generate_unique_id_function=operation_id)

_TIMEOUT = {
    "name": "X-Request-Timeout-Ms",
    "in": "header",
    "required": False,
    "schema": {"type": "integer", "exclusiveMinimum": 0, "title": "X-Request-Timeout-Ms"},
    "description": "Answer 504 unless begun within this many milliseconds.",
}


LONGEST = 15
"""Digits of a time-out that are read; a longer one is more than any server's."""


def _header(description: str) -> dict[str, Any]:
    return {"description": description, "schema": {"type": "string"}}


@router.post(
    "/reward",
    summary="Score a batch of completions and remember it",
    response_model=RewardResponse,
    responses={
        200: {
            "headers": {
                "Idempotency-Replayed": _header("`true` where a stored answer is repeated"),
                "Server-Timing": _header("where the time went, in ms"),
            }
        },
        **problems(
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
    },
    openapi_extra={"parameters": [_TIMEOUT], **body_of("RewardRequest")},
)
async def reward(request: Request) -> Response:
    """For n completions with their prompts and outcomes: how close each is to what worked, how far from what failed.

    The batch is written to the run's memories in the same step; a 200 means that it is durable. With `mode: "eval"`
    nothing is written. With a `request_id` the same body can be sent again: it gets the same response, and changes
    nothing.
    """
    context: Context = request.app.state.context
    arrived: float = request.state.arrived
    patience = _patience(request, context.settings.deadline_s)
    body = await parse(request, RewardRequest, context.settings)
    request.state.run_id, request.state.n = body.run_id, len(body.prompts)
    request.state.caller.require_run(body.run_id)
    parsed = time.monotonic()
    warnings, waits = request.state.warnings, request.state.place.leave
    work = context.service.reward(body, arrived + patience, parsed - arrived, warnings, waits)
    try:
        rewarded = await while_connected(request, work)
    except HeldElsewhere as elsewhere:
        return await context.forward(request, elsewhere)
    headers = {"Server-Timing": _timing(body=parsed - arrived, service=time.monotonic() - parsed)}
    if rewarded.replayed:
        headers["Idempotency-Replayed"] = "true"
    return Response(rewarded.body, headers=headers, media_type="application/json")


def _patience(request: Request, most_s: float) -> float:
    """Seconds within which the work must have begun: what the caller asks for, at most the server's."""
    asked = request.headers.get("x-request-timeout-ms")
    if asked is None:
        return most_s
    digits = asked.lstrip("0")
    if not (asked.isascii() and asked.isdecimal() and digits):
        raise InvalidRequest(
            "The header X-Request-Timeout-Ms is not a whole number above 0.",
            value=asked[:80],
            limit="milliseconds, 1 or more",
            remedy="Correct it, or leave it out.",
        )
    if len(digits) > LONGEST:
        return most_s
    return min(int(digits), most_s * 1000) / 1000


def _timing(**seconds: float) -> str:
    return ", ".join(f"{name};dur={1000 * duration:.3f}" for name, duration in seconds.items())
