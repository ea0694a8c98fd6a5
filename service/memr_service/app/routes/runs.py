"""Routes of runs: create, describe, list, delete, export, import, history, calibrate."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from memr_client.errors import (
    Conflict,
    EncoderUnusable,
    MalformedBody,
    Overloaded,
    StoreFull,
    TooLarge,
    UnknownRun,
    UnsupportedMedia,
)
from memr_client.schemas import Calibration, History, RunConfig, RunInfo, RunList
from starlette.responses import StreamingResponse

from memr_service.app.arrival import arriving
from memr_service.app.body import parse, require_media
from memr_service.app.context import Caller, InContext, RunId
from memr_service.app.openapi import COMMON, FILE, body_of, file_body, operation_id, problems
from memr_service.app.openrlhf import check_pattern
from memr_service.run.run import Run
from memr_service.verifiers import require
from memr_service.verifiers.extraction import pattern_of

router = APIRouter(prefix="/runs", tags=["runs"], generate_unique_id_function=operation_id)

After = Annotated[int, Query(ge=0, lt=2**62, description="Only steps after this position.")]
Limit = Annotated[int, Query(ge=1, le=10_000, description="Most steps to return.")]
Points = Annotated[
    int | None, Query(ge=1, le=2000, description="Return all steps in at most this many rows, merging adjacent steps.")
]
NewestSteps = Annotated[bool, Query(description="Also tell of each run's newest steps, and how many audits alarm.")]
Digest = Annotated[bool, Query(description="Also compute SHA-256 over memories, windows and counters.")]


@router.get("", summary="List the runs", responses=problems(*COMMON))
async def list_runs(context: InContext, caller: Caller, recent: NewestSteps = False) -> RunList:
    """All runs that the API key may see, sorted by name."""
    runs = await context.service.runs.describe_all(caller.sees, recent=recent)
    if recent:
        alarms = await context.insight.alarms()
        runs = [run.model_copy(update={"alarms": alarms.get(run.run_id)}) for run in runs]
    return RunList(runs=runs)


@router.put(
    "/{run_id}",
    summary="Create a run",
    responses={
        201: {"model": RunInfo, "description": "The run was created."},
        200: {"description": "The run exists with this config."},
        **problems(
            *COMMON, MalformedBody, UnknownRun, Conflict, TooLarge, UnsupportedMedia, StoreFull, EncoderUnusable
        ),
    },
    openapi_extra=body_of("RunConfig"),
)
async def create_run(
    run_id: RunId, request: Request, response: Response, context: InContext, caller: Caller
) -> RunInfo:
    """Create a run with this config. Unset fields come from the preset.

    If the run exists with the same config, nothing changes. Another config is refused with a 409 that names both values
    of the differing fields. A run without completions takes the new config, and `warnings` says so.
    """
    config = await parse(request, RunConfig, context.settings)
    require(config.verifier)
    check_pattern("prompt_pattern", config.prompt_pattern)
    check_pattern("extract", pattern_of(config.extract))
    for prior in config.prior_runs or ():
        caller.require_run(prior.run)
    run, created = await context.service.runs.create(run_id, config)
    response.status_code = 201 if created else 200
    return run.model_copy(update={"warnings": [*request.state.warnings, *run.warnings]})


@router.get("/{run_id}", summary="Describe a run", responses=problems(*COMMON, UnknownRun))
async def describe_run(run_id: RunId, context: InContext, digest: Digest = False) -> RunInfo:
    """The run's resolved config, position, chain, windows, encoder, and the sizes of its memories."""
    return await context.service.runs.describe(run_id, digest)


@router.get(
    "/{run_id}/history", summary="Statistics of a run's steps", responses=problems(*COMMON, UnknownRun, Overloaded)
)
async def read_history(
    run_id: RunId, context: InContext, after: After = 0, limit: Limit = 1000, points: Points = None
) -> History:
    """For each step: outcomes, rewards, components raw and scaled, support, lengths, sizes. Poll with `after`."""
    if points is not None:
        return History(rows=await context.insight.dashboard.curve(run_id, after, points))
    return History(rows=await context.service.runs.on_run(run_id, Run.history, after, limit))


@router.get(
    "/{run_id}/calibrate",
    summary="Propose limits for guards",
    responses=problems(*COMMON, UnknownRun, Conflict, Overloaded),
)
async def calibrate_run(run_id: RunId, context: InContext) -> Calibration:
    """A limit for each guard from quantiles of the run's own records, and how many completions it would have rejected.

    Reads the whole journal while the run continues to serve rewards. 409 if there are too few right completions.
    """
    return await context.insight.calibrate(run_id)


@router.delete("/{run_id}", summary="Delete a run", status_code=204, responses=problems(*COMMON, UnknownRun))
async def delete_run(run_id: RunId, context: InContext) -> None:
    """Delete the run and everything stored for it. This cannot be undone; export the run first if you may need it."""
    await context.service.runs.delete(run_id)


@router.get(
    "/{run_id}/export",
    summary="Export a run as one file",
    response_class=StreamingResponse,
    responses={200: {"description": "The run.", "content": FILE}, **problems(*COMMON, UnknownRun)},
)
async def export_run(run_id: RunId, context: InContext) -> StreamingResponse:
    """The whole run (config, journal, memories) as a file that `POST /runs/{run_id}/import` reads on any server."""
    chunks = context.service.runs.export(run_id)
    # The first chunk is awaited here, so that an unknown run is a 404 and not a broken download.
    first = await anext(chunks, b"")
    return StreamingResponse(
        _chained(first, chunks),
        media_type="application/octet-stream",
        headers={"Content-Disposition": f'attachment; filename="{run_id}.memr"'},
    )


async def _chained(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for chunk in rest:
        yield chunk


@router.post(
    "/{run_id}/import",
    summary="Import a run from a file",
    status_code=201,
    responses={
        201: {"description": "The run was created."},
        **problems(*COMMON, MalformedBody, Conflict, TooLarge, UnsupportedMedia, Overloaded, StoreFull),
    },
    openapi_extra=file_body(),
)
async def import_run(run_id: RunId, request: Request, context: InContext) -> RunInfo:
    """Create a run under this name from a file of `GET /runs/{run_id}/export`. 409 if the name is taken.

    The file is kept on disk while it arrives: it may be larger than other bodies (`MEMR_MAX_IMPORT_BYTES`).
    """
    require_media(request, "application/octet-stream")
    return await context.service.runs.import_file(run_id, arriving(request, context.settings.body_s))
