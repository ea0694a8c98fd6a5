"""Routes of insight into a run: audits, completions, map, provenance, explanations, replays."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request
from memr_client.errors import (
    Conflict,
    DeadlineExceeded,
    EncoderUnusable,
    MalformedBody,
    Overloaded,
    TooLarge,
    UnknownPrompt,
    UnknownRun,
    UnsupportedMedia,
)
from memr_client.schemas import (
    Audits,
    Completions,
    Explain,
    Explanation,
    KnownPrompts,
    Map,
    PassRatesOverSteps,
    PromptHistory,
    PromptKind,
    Provenance,
    ReplayLine,
    ReplayRequest,
)
from starlette.responses import StreamingResponse

from memr_service.app.body import parse
from memr_service.app.context import InContext, RunId
from memr_service.app.openapi import COMMON, body_of, lines_of, operation_id, problems

router = APIRouter(prefix="/runs/{run_id}", tags=["insight"], generate_unique_id_function=operation_id)

BODY = (*COMMON, MalformedBody, UnknownRun, TooLarge, UnsupportedMedia)


At = Annotated[int | None, Query(ge=1, lt=2**62, description="Audit the run at this position. Default: now.")]
After = Annotated[int, Query(ge=0, lt=2**62, description="Only completions whose record comes after this position.")]
Offset = Annotated[int, Query(ge=0, lt=2**62, description="Number of completions to skip.")]
Limit = Annotated[int, Query(ge=1, le=200, description="Most completions on the page.")]
Sort = Annotated[
    str, Query(description="`position`, `outcome`, `reward`, `length`, or a component (sorts by its raw value).")
]
Ascending = Annotated[bool, Query(description="Smallest first.")]
Right = Annotated[bool | None, Query(description="True: only right completions. False: only wrong ones.")]
Step = Annotated[int | None, Query(ge=0, lt=2**62, description="Only completions of this step.")]
OfPrompt = Annotated[
    str | None,
    Query(pattern="^[0-9a-f]{32}$", description="Only completions of the prompt with this key (hex)."),
]
RejectedFor = Annotated[
    str | None,
    Query(max_length=200, description="Only completions rejected for this reason, such as `exploit:too_short`."),
]
Text = Annotated[
    str,
    Query(max_length=1000, description="Only completions whose prompt or completion contains this text, in any case."),
]
PromptSort = Annotated[str, Query(description="`step` (of the last visit), `p`, `spread` or `visits`.")]
Kind = Annotated[PromptKind | None, Query(description="Only prompts of this kind.")]
Visited = Annotated[bool | None, Query(description="True: only prompts that this run has visited. False: only others.")]
PromptText = Annotated[
    str, Query(max_length=1000, description="Only prompts whose id or text contains this text, in any case.")
]
Skipped = Annotated[int, Query(ge=0, lt=2**62, description="Number of prompts to skip.")]
MostPrompts = Annotated[int, Query(ge=1, le=200, description="Most prompts on the page.")]
Key = Annotated[
    str, Path(pattern="^[0-9a-f]{32}$", description="The prompt's identity (hex), as the list of prompts names it.")
]
Most = Annotated[int, Query(ge=2, le=2000, description="Most points, sampled evenly over the memories' ages.")]


@router.get("/audits", summary="Check a run for collapse", responses=problems(*COMMON, UnknownRun, Overloaded))
async def audits(run_id: RunId, context: InContext, at: At = None) -> Audits:
    """Figures of the newest completions compared with the run's first ones (collapse, leaks, drift), with remedies."""
    return await context.insight.audits(run_id, at)


@router.get(
    "/completions", summary="List completions with their rewards", responses=problems(*COMMON, UnknownRun, Overloaded)
)
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
    prompt: OfPrompt = None,
    rejected: RejectedFor = None,
    text: Text = "",
) -> Completions:
    """One page of the run's completions as they were scored, with their texts if they are kept, long ones shortened."""
    return await context.insight.dashboard.completions(
        run_id,
        after=after,
        offset=offset,
        limit=limit,
        sort=sort,
        ascending=ascending,
        right=right,
        step=step,
        prompt=None if prompt is None else bytes.fromhex(prompt),
        rejected=rejected,
        text=text,
    )


@router.get(
    "/prompts",
    summary="List prompts with their pass rates",
    responses=problems(*COMMON, UnknownRun, Conflict, Overloaded),
)
async def prompts(
    run_id: RunId,
    context: InContext,
    offset: Skipped = 0,
    limit: MostPrompts = 50,
    sort: PromptSort = "step",
    ascending: Ascending = False,
    kind: Kind = None,
    visited: Visited = None,
    text: PromptText = "",
) -> KnownPrompts:
    """One page of the prompts that the run knows or has in its pool, with the beginnings of their texts."""
    return await context.insight.dashboard.prompts(
        run_id,
        offset=offset,
        limit=limit,
        sort=sort,
        ascending=ascending,
        kind=kind,
        visited=visited,
        text=text,
    )


@router.get(
    "/prompts/{key}",
    summary="Describe a prompt",
    responses=problems(*COMMON, UnknownRun, UnknownPrompt, Conflict, Overloaded),
)
async def prompt(run_id: RunId, key: Key, context: InContext) -> PromptHistory:
    """What is known of a prompt, and its visits, each with how many completions were right."""
    return await context.insight.dashboard.prompt(run_id, bytes.fromhex(key))


@router.get("/pass-rates", summary="Show how pass rates moved", responses=problems(*COMMON, UnknownRun, Overloaded))
async def pass_rates(run_id: RunId, context: InContext) -> PassRatesOverSteps:
    """The distribution of the prompts' pass rates at records evenly spaced over the run."""
    return await context.insight.dashboard.pass_rates(run_id)


@router.get("/map", summary="Project both memories on a plane", responses=problems(*COMMON, UnknownRun, Overloaded))
async def map_memories(run_id: RunId, context: InContext, most: Most = 1000) -> Map:
    """A sample of both memories, projected on its first two principal components."""
    return await context.insight.dashboard.map(run_id, most)


@router.get("/provenance", summary="What a paper must cite", responses=problems(*COMMON, UnknownRun))
async def provenance(run_id: RunId, context: InContext) -> Provenance:
    """The run's resolved config, its encoder's fingerprint, library versions, and the chain of its records."""
    return await context.insight.provenance(run_id)


@router.post(
    "/explain",
    summary="Explain a reward",
    responses=problems(*BODY, Conflict, Overloaded, DeadlineExceeded, EncoderUnusable),
    openapi_extra=body_of("Explain"),
)
async def explain(run_id: RunId, request: Request, context: InContext) -> Explanation:
    """What a completion read, where its values lie in the windows, which guards rejected it, and the sum.

    Explains a new prompt and completion as they would be scored now, or an item of the run as it was scored, with the
    neighbours of that time. The item is named by record and position in it, or by serial number. Nothing changes.
    """
    question = await parse(request, Explain, context.settings)
    return await context.insight.explain(run_id, question, request.state.warnings)


@router.post(
    "/replay",
    summary="Score the run's journal under other settings",
    response_class=StreamingResponse,
    responses={
        200: {"description": "Progress, then the result.", "content": lines_of(ReplayLine)},
        **problems(*BODY, Overloaded),
    },
    openapi_extra=body_of("ReplayRequest"),
)
async def replay(run_id: RunId, request: Request, context: InContext) -> StreamingResponse:
    """The rewards under another K, another preset or other guards. Needs no encoder and changes nothing.

    The response has one JSON object per line: progress, then the result or a problem. A setting without changes (the
    default) must reproduce every reward exactly; the result tells where it does not.
    """
    body = await parse(request, ReplayRequest, context.settings)
    lines = await context.insight.replay(run_id, body.settings)
    return StreamingResponse(lines, media_type="application/x-ndjson")
