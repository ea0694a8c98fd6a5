"""Questions about a run: why this reward, what if, is it collapsing, what to cite."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from memr_client.errors import (
    Conflict,
    DeadlineExceeded,
    MalformedBody,
    Overloaded,
    TooLarge,
    UnknownRun,
    UnsupportedMedia,
)
from memr_client.schemas import (
    Audits,
    Completions,
    Explain,
    Explanation,
    Map,
    Provenance,
    ReplayLine,
    ReplayRequest,
)
from starlette.responses import StreamingResponse

from memr_service.app.body import parse
from memr_service.app.context import InContext, RunId
from memr_service.app.openapi import GUARDED, body_of, lines_of, problems

router = APIRouter(prefix="/runs/{run_id}", tags=["insight"])

BODY = (*GUARDED, MalformedBody, UnknownRun, TooLarge, UnsupportedMedia)


At = Annotated[int | None, Query(ge=1, lt=2**62, description="As of this position instead of now.")]
After = Annotated[int, Query(ge=0, lt=2**62, description="Only completions whose records come after this position.")]
Offset = Annotated[int, Query(ge=0, lt=2**62, description="Pass over so many.")]
Limit = Annotated[int, Query(ge=1, le=200, description="At most so many.")]
Sort = Annotated[str, Query(description="`position`, `outcome`, `reward`, `length`, or a component, by its raw value.")]
Ascending = Annotated[bool, Query(description="The least first.")]
Right = Annotated[bool | None, Query(description="Only right ones, or only wrong ones.")]
Step = Annotated[int | None, Query(ge=0, lt=2**62, description="Only those of this step.")]
Text = Annotated[
    str, Query(max_length=1000, description="Only those whose prompt or completion holds it, in any case.")
]
Most = Annotated[int, Query(ge=2, le=2000, description="At most so many, evenly over the memories' ages.")]


@router.get("/audits", summary="Is it collapsing?", responses=problems(*GUARDED, UnknownRun))
async def audits(run_id: RunId, context: InContext, at: At = None) -> Audits:
    """The newest completions measured beside the run's first ones: collapse, leaks, drift, and what to do about it."""
    return await context.desk.audits(run_id, at)


@router.get("/completions", summary="Completions with their rewards", responses=problems(*GUARDED, UnknownRun))
async def completions(
    run_id: RunId,
    context: InContext,
    after: After = 0,
    offset: Offset = 0,
    limit: Limit = 50,
    sort: Sort = "position",
    ascending: Ascending = False,
    right: Right = None,
    step: Step = None,
    text: Text = "",
) -> Completions:
    """A page of the run's completions as they were scored, with the beginnings of their texts where these are kept."""
    return await context.desk.gallery.completions(
        run_id,
        after=after,
        offset=offset,
        limit=limit,
        sort=sort,
        ascending=ascending,
        right=right,
        step=step,
        text=text,
    )


@router.get("/map", summary="Both memories on a plane", responses=problems(*GUARDED, UnknownRun))
async def map_memories(run_id: RunId, context: InContext, most: Most = 1000) -> Map:
    """A sample of what both memories hold, projected on its two principal components."""
    return await context.desk.gallery.map(run_id, most)


@router.get("/provenance", summary="What a paper must cite", responses=problems(*GUARDED, UnknownRun))
async def provenance(run_id: RunId, context: InContext) -> Provenance:
    """The resolved config, the encoder's fingerprint, versions, and the hash in which the run's history ends."""
    return await context.desk.provenance(run_id)


@router.post(
    "/explain",
    summary="How a reward comes about",
    responses=problems(*BODY, Conflict, Overloaded, DeadlineExceeded),
    openapi_extra=body_of("Explain"),
)
async def explain(run_id: RunId, request: Request, context: InContext) -> Explanation:
    """What a completion reads, where its values lie in the windows, which guards fired, and the sum; nothing changes.

    Either a prompt and a completion, as they would be scored now and without being remembered; or a stored item, by its
    record or its serial number, as it was scored: its neighbours are then those of that time.
    """
    return await context.desk.explain(run_id, await parse(request, Explain, context.settings))


@router.post(
    "/replay",
    summary="Score the run's journal under other settings",
    response_class=StreamingResponse,
    responses={200: {"description": "Progress, then the result.", "content": lines_of(ReplayLine)}, **problems(*BODY)},
    openapi_extra=body_of("ReplayRequest"),
)
async def replay(run_id: RunId, request: Request, context: InContext) -> StreamingResponse:
    """What would have been paid with another K, another preset, other guards: no encoder, no training, no change.

    The answer is a line of JSON for each bit of progress, and a last one with the result (or a problem). A setting that
    leaves everything as it is (the default) reproduces every reward exactly, or says where it does not.
    """
    wanted = await parse(request, ReplayRequest, context.settings)
    lines = await context.desk.replay(run_id, wanted.settings)
    return StreamingResponse(lines, media_type="application/x-ndjson")
