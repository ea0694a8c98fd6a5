"""Runs: create, describe, list, remove, and carry from one server to another."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from memr_client.errors import Conflict, MalformedBody, StoreFull, TooLarge, UnknownRun, UnsupportedMedia
from memr_client.schemas import Calibration, History, RunConfig, RunInfo, RunList
from starlette.responses import StreamingResponse

from memr_service.app.body import parse, require_media
from memr_service.app.context import Caller, InContext, RunId
from memr_service.app.openapi import FILE, GUARDED, body_of, file_body, problems
from memr_service.app.openrlhf import check_pattern
from memr_service.insight.calibration import calibrate
from memr_service.verifiers import require

router = APIRouter(prefix="/runs", tags=["runs"])

After = Annotated[int, Query(ge=0, lt=2**62, description="Only steps whose records come after this position.")]
Limit = Annotated[int, Query(ge=1, le=10_000, description="At most so many steps.")]
Points = Annotated[
    int | None, Query(ge=1, le=2000, description="All steps in at most so many rows, each of neighbouring steps.")
]
Digest = Annotated[bool, Query(description="Also compute SHA-256 over memories, windows and counters.")]


@router.get("", summary="List the runs", responses=problems(*GUARDED))
async def list_runs(context: InContext, caller: Caller) -> RunList:
    """All runs that the key may see, by name."""
    return RunList(runs=[run for run in await context.service.runs() if caller.sees(run.run_id)])


@router.put(
    "/{run_id}",
    summary="Create a run",
    responses={
        201: {"model": RunInfo, "description": "The run was created."},
        200: {"description": "The run existed with this config."},
        **problems(*GUARDED, MalformedBody, Conflict, TooLarge, UnsupportedMedia, StoreFull),
    },
    openapi_extra=body_of("RunConfig"),
)
async def create_run(run_id: RunId, request: Request, response: Response, context: InContext) -> RunInfo:
    """Create a run with this config; fields left out come from the preset.

    The same config again changes nothing; another one is refused with 409, naming the fields that differ, unless
    nothing was committed yet.
    """
    config = await parse(request, RunConfig, context.settings)
    require(config.verifier)
    check_pattern(config.prompt_pattern)
    run, created = await context.service.create_run(run_id, config)
    response.status_code = 201 if created else 200
    return run


@router.get("/{run_id}", summary="Describe a run", responses=problems(*GUARDED, UnknownRun))
async def describe_run(run_id: RunId, context: InContext, digest: Digest = False) -> RunInfo:
    """The run's resolved config, position, chain, sizes of its memories, windows, and the encoder it is bound to."""
    return await context.service.run(run_id, digest)


@router.get("/{run_id}/history", summary="A run step by step", responses=problems(*GUARDED, UnknownRun))
async def read_history(
    run_id: RunId, context: InContext, after: After = 0, limit: Limit = 1000, points: Points = None
) -> History:
    """Per step: outcomes, rewards, each component raw and scaled, support, lengths, sizes. Poll with `after`."""
    if points is not None:
        return History(rows=await context.desk.gallery.curve(run_id, after, points))
    return History(rows=await context.service.history(run_id, after, limit))


@router.get(
    "/{run_id}/calibrate",
    summary="Propose limits for the run's guards",
    responses=problems(*GUARDED, UnknownRun, Conflict),
)
async def calibrate_run(run_id: RunId, context: InContext) -> Calibration:
    """What each guard's limit might be, by quantiles of the run's own records, and whom it would have rejected.

    The whole journal is read, beside the rewards that the run goes on giving. 409 while there are too few right
    completions to tell.
    """
    return await calibrate(context.service, run_id)


@router.delete("/{run_id}", summary="Remove a run", status_code=204, responses=problems(*GUARDED, UnknownRun))
async def delete_run(run_id: RunId, context: InContext) -> None:
    """Remove the run with everything it has. This cannot be taken back; export it first."""
    await context.service.delete_run(run_id)


@router.get(
    "/{run_id}/export",
    summary="Download a run as one file",
    response_class=StreamingResponse,
    responses={200: {"description": "The run.", "content": FILE}, **problems(*GUARDED, UnknownRun)},
)
async def export_run(run_id: RunId, context: InContext) -> StreamingResponse:
    """The whole run - config, journal, memories - for `POST /runs/{run_id}/import` of this or another server."""
    chunks = context.service.export_run(run_id)
    # The first chunk is awaited here, so that an unknown run is a 404 and not a broken download.
    first = await anext(chunks, b"")
    return StreamingResponse(
        _resumed(first, chunks),
        media_type="application/octet-stream",
        headers={"Content-Disposition": f'attachment; filename="{run_id}.memr"'},
    )


async def _resumed(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for chunk in rest:
        yield chunk


@router.post(
    "/{run_id}/import",
    summary="Create a run from a file",
    status_code=201,
    responses={
        201: {"description": "The run was created."},
        **problems(*GUARDED, MalformedBody, Conflict, UnsupportedMedia, StoreFull),
    },
    openapi_extra=file_body(),
)
async def import_run(run_id: RunId, request: Request, context: InContext) -> RunInfo:
    """Create a run under this name from what `GET /runs/{run_id}/export` gave; 409 if the name is taken.

    The file is read as it comes and never held in memory, so that the limit on bodies does not apply to it.
    """
    require_media(request, "application/octet-stream")
    return await context.service.import_run(run_id, request.stream())
