"""Routes of suspects: references and verdicts that are likely wrong, and decisions about them."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from memr_client.errors import (
    Conflict,
    InvalidRequest,
    MalformedBody,
    Overloaded,
    StoreFull,
    TooLarge,
    UnknownRun,
    UnsupportedMedia,
)
from memr_client.schemas import MOST_PRIOR_RUNS, MOST_SUSPECTS, DecisionList, DecisionsRequest, Suspects

from memr_service.app.body import parse
from memr_service.app.context import Caller, InContext, RunId
from memr_service.app.openapi import COMMON, body_of, operation_id, problems
from memr_service.insight.suspects import PRIOR

router = APIRouter(prefix="/runs/{run_id}", tags=["suspects"], generate_unique_id_function=operation_id)

MinProbability = Annotated[
    float, Query(ge=0, le=1, description="Only references that are wrong with this probability or more.")
]
Prior = Annotated[float, Query(gt=0, lt=1, description="Share of the references that are expected to be wrong.")]
Limit = Annotated[int, Query(ge=1, le=MOST_SUSPECTS, description="Most references, and most verdicts.")]
Runs = Annotated[
    list[str] | None,
    Query(description="Names of other runs whose answers count too, one `runs=` each. Prior runs count anyway."),
]


@router.get(
    "/suspects",
    summary="Find labels and verdicts that are likely wrong",
    responses=problems(*COMMON, UnknownRun, Conflict, Overloaded),
)
async def suspects(
    run_id: RunId,
    context: InContext,
    caller: Caller,
    min_probability: MinProbability = 0.5,
    prior: Prior = PRIOR,
    limit: Limit = 200,
    runs: Runs = None,
) -> Suspects:
    """References of the data set that the answers of this run and others contradict, and verdicts that do not fit them.

    It needs `references`, and answers: `answers` of the requests, or the run's `extract`. Nothing changes.
    """
    others = runs or []
    if len(others) > MOST_PRIOR_RUNS:
        raise InvalidRequest(f"{len(others)} other runs are named.", value=len(others), limit=MOST_PRIOR_RUNS)
    for name in others:
        caller.require_run(name)
    return await context.insight.suspects(run_id, min_probability, prior, limit, others)


@router.put(
    "/decisions",
    summary="Decide about references",
    responses=problems(*COMMON, MalformedBody, UnknownRun, TooLarge, UnsupportedMedia, Conflict, StoreFull),
    openapi_extra=body_of("DecisionsRequest"),
)
async def set_decisions(run_id: RunId, request: Request, context: InContext) -> DecisionList:
    """Let these be the decisions of the run, in place of those it had; the run's record holds them.

    Prompts with a decision are no longer suspected, the run's verifier judges by the replaced references, and runs that
    name this one in `prior_runs` start with its decisions.
    """
    body = await parse(request, DecisionsRequest, context.settings)
    return DecisionList(decisions=await context.service.decisions.set(run_id, body))


@router.get("/decisions", summary="List decisions", responses=problems(*COMMON, UnknownRun, Conflict))
async def list_decisions(run_id: RunId, context: InContext) -> DecisionList:
    """The run's decisions about references."""
    return DecisionList(decisions=await context.service.decisions.all(run_id))
