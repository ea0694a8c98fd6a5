"""Routes of checkpoints: create, list, delete, restore, fork."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Request
from memr_client.errors import (
    Conflict,
    MalformedBody,
    Overloaded,
    StoreFull,
    TooLarge,
    UnknownCheckpoint,
    UnknownRun,
    UnsupportedMedia,
)
from memr_client.schemas import Checkpoint, CheckpointList, Fork, Name, NewCheckpoint, Restore, RunInfo

from memr_service.app.body import parse
from memr_service.app.context import Caller, InContext, RunId
from memr_service.app.openapi import COMMON, body_of, operation_id, problems

router = APIRouter(prefix="/runs/{run_id}", tags=["checkpoints"], generate_unique_id_function=operation_id)

CheckpointName = Annotated[Name, Path(description="The checkpoint's name.")]
BODY = (*COMMON, MalformedBody, UnknownRun, TooLarge, UnsupportedMedia)


@router.post(
    "/checkpoints",
    summary="Create a checkpoint of the run's current position",
    status_code=201,
    responses={201: {"description": "The checkpoint."}, **problems(*BODY, Conflict, StoreFull)},
    openapi_extra=body_of("NewCheckpoint"),
)
async def create_checkpoint(run_id: RunId, request: Request, context: InContext) -> Checkpoint:
    """Takes no time, because nothing is copied. An existing checkpoint of this name moves.

    A run has at most 10,000 checkpoints; beyond it a new name gets a 409.
    """
    body = await parse(request, NewCheckpoint, context.settings)
    runs = context.service.runs
    return await runs.on_run(run_id, runs.checkpoints.create, body.name, body.step)


@router.get("/checkpoints", summary="List the checkpoints", responses=problems(*COMMON, UnknownRun))
async def list_checkpoints(run_id: RunId, context: InContext) -> CheckpointList:
    """All checkpoints of the run on all branches, oldest first."""
    runs = context.service.runs
    return CheckpointList(checkpoints=await runs.on_run(run_id, runs.checkpoints.all))


@router.delete(
    "/checkpoints/{name}",
    summary="Delete a checkpoint",
    status_code=204,
    responses=problems(*COMMON, UnknownRun, UnknownCheckpoint),
)
async def delete_checkpoint(run_id: RunId, name: CheckpointName, context: InContext) -> None:
    """Delete the checkpoint. The run's records stay."""
    runs = context.service.runs
    await runs.on_run(run_id, runs.checkpoints.delete, name)


@router.post(
    "/restore",
    summary="Restore the run to a checkpoint",
    responses=problems(*BODY, UnknownCheckpoint, StoreFull),
    openapi_extra=body_of("Restore"),
)
async def restore(run_id: RunId, request: Request, context: InContext) -> RunInfo:
    """Set memories, windows, counters and request ids back to what they were, on a new branch.

    The old branch stays readable, and its checkpoints can be restored. Requests waiting at the run's barrier get a 503
    and may be sent again.
    """
    body = await parse(request, Restore, context.settings)
    runs = context.service.runs
    return await runs.on_run(run_id, runs.checkpoints.restore, body.checkpoint)


@router.post(
    "/fork",
    summary="Copy the run under a new name",
    status_code=201,
    responses={
        201: {"description": "The copy."},
        **problems(*BODY, UnknownCheckpoint, Conflict, Overloaded, StoreFull),
    },
    openapi_extra=body_of("Fork"),
)
async def fork(run_id: RunId, request: Request, context: InContext, caller: Caller) -> RunInfo:
    """Copy the run as it was at the checkpoint, or as it is now, with its request ids. Both continue independently."""
    body = await parse(request, Fork, context.settings)
    caller.require_run(body.run_id)
    runs = context.service.runs
    return await runs.fork(run_id, body.run_id, body.checkpoint)
