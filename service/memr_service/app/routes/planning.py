"""Routes of planning: a run's pool, its plans, and counts to start from."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response
from memr_client.errors import (
    Conflict,
    InvalidRequest,
    MalformedBody,
    Overloaded,
    StoreFull,
    TooLarge,
    UnknownPrompt,
    UnknownRun,
    UnsupportedMedia,
)
from memr_client.schemas import Backtest, Plan, PlanRequest, PoolInfo, PoolRequest, PriorOutcomes

from memr_service.app.body import parse
from memr_service.app.context import InContext, RunId
from memr_service.app.openapi import COMMON, body_of, operation_id, problems

router = APIRouter(prefix="/runs/{run_id}", tags=["planning"], generate_unique_id_function=operation_id)

BODY = (*COMMON, MalformedBody, UnknownRun, TooLarge, UnsupportedMedia, Conflict)

Part = Annotated[int, Query(ge=0, lt=1000, description="Number of this part of the pool, from 0.")]
Parts = Annotated[int, Query(ge=1, le=1000, description="How many parts the pool comes in.")]
Upload = Annotated[
    str,
    Query(
        pattern="^[A-Za-z0-9._-]{0,128}$",
        description="Name of the upload that the part belongs to, such as a digest of the whole pool. Parts of two "
        "uploads are never mixed.",
    ),
]


@router.put(
    "/pool",
    summary="Set the pool",
    responses=problems(*BODY, StoreFull),
    openapi_extra=body_of("PoolRequest"),
)
async def set_pool(
    run_id: RunId, request: Request, context: InContext, part: Part = 0, parts: Parts = 1, upload: Upload = ""
) -> PoolInfo:
    """Set the prompts that the run may plan from, in place of those it had; the run's record holds the list.

    A large pool comes in several parts, in any order, all with one `upload`. It takes effect with the last. A part
    that comes again replaces the first. Parts that wait are lost when the server restarts, or after four other uploads
    have begun.
    """
    if part >= parts:
        raise InvalidRequest(
            f"part {part} of {parts}: parts are numbered from 0 to {parts - 1}.", value=part, limit=parts - 1
        )
    body = await parse(request, PoolRequest, context.settings)
    return await context.service.planner.set_pool(run_id, body, part, parts, upload)


@router.get("/pool", summary="Describe the pool", responses=problems(*COMMON, UnknownRun, Conflict))
async def pool(run_id: RunId, context: InContext) -> PoolInfo:
    """How many prompts the pool has, and of how many something is known."""
    return await context.service.planner.pool(run_id)


@router.delete("/pool", summary="Remove the pool", status_code=204, responses=problems(*COMMON, UnknownRun, Conflict))
async def delete_pool(run_id: RunId, context: InContext) -> None:
    """Remove the pool. Pass rates stay."""
    await context.service.planner.delete_pool(run_id)


@router.delete(
    "/prompts/{key}",
    summary="Forget a prompt",
    status_code=204,
    responses=problems(*COMMON, UnknownRun, UnknownPrompt, Conflict, StoreFull),
)
async def forget(
    run_id: RunId,
    key: Annotated[str, Path(pattern="^[0-9a-f]{32}$", description="The prompt's identity (hex).")],
    context: InContext,
) -> None:
    """Forget the prompt's pass rate, as if the prompt had never been visited. Its completions stay in the memories."""
    await context.service.planner.forget(run_id, bytes.fromhex(key))


@router.post(
    "/plan",
    summary="Plan which prompts to sample next",
    response_model=Plan,
    responses=problems(*BODY, Overloaded),
    openapi_extra=body_of("PlanRequest"),
)
async def plan(run_id: RunId, request: Request, context: InContext) -> Response:
    """Choose the prompts whose groups are most likely to teach something. It reads, and changes nothing.

    Equal requests as of equal positions get equal plans, on every rank and after every restart.
    """
    found = await context.service.planner.plan(run_id, await parse(request, PlanRequest, context.settings))
    return Response(found.model_dump_json(), media_type="application/json")


@router.post(
    "/prior",
    summary="Start from counts",
    status_code=204,
    responses=problems(*BODY, StoreFull),
    openapi_extra=body_of("PriorOutcomes"),
)
async def add_prior(run_id: RunId, request: Request, context: InContext) -> None:
    """Let a run without completions start from counts of right completions, for example of an evaluation.

    Earlier runs need no counts: name them in the config, as `prior_runs`.
    """
    await context.service.planner.add_prior(run_id, await parse(request, PriorOutcomes, context.settings))


@router.get(
    "/backtest", summary="Check the pass rates against a run", responses=problems(*COMMON, UnknownRun, Overloaded)
)
async def backtest(run_id: RunId, context: InContext) -> Backtest:
    """How well the run's own pass rates would have foreseen its groups, each from what was known before it."""
    return await context.insight.backtest(run_id)
