"""Checkpoints: names for positions of a run's history, and what can be done with them."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Request
from memr_client.errors import (
    Conflict,
    MalformedBody,
    StoreFull,
    TooLarge,
    UnknownCheckpoint,
    UnknownRun,
    UnsupportedMedia,
)
from memr_client.schemas import Checkpoint, CheckpointList, Fork, Name, NewCheckpoint, Restore, RunInfo

from memr_service.app.body import parse
from memr_service.app.context import Caller, InContext, RunId
from memr_service.app.openapi import GUARDED, body_of, problems

router = APIRouter(prefix="/runs/{run_id}", tags=["checkpoints"])

CheckpointName = Annotated[Name, Path(description="The checkpoint's name.")]
BODY = (*GUARDED, MalformedBody, UnknownRun, TooLarge, UnsupportedMedia)


@router.post(
    "/checkpoints",
    summary="Name the run's present position",
    status_code=201,
    responses={201: {"description": "The checkpoint."}, **problems(*BODY, StoreFull)},
    openapi_extra=body_of("NewCheckpoint"),
)
async def create_checkpoint(run_id: RunId, request: Request, context: InContext) -> Checkpoint:
    """Instant: a position is named, nothing is copied. A name that exists moves."""
    wanted = await parse(request, NewCheckpoint, context.settings)
    return await context.service.create_checkpoint(run_id, wanted.name, wanted.step)


@router.get("/checkpoints", summary="List the checkpoints", responses=problems(*GUARDED, UnknownRun))
async def list_checkpoints(run_id: RunId, context: InContext) -> CheckpointList:
    """All checkpoints of the run on all its branches, the oldest first."""
    return CheckpointList(checkpoints=await context.service.checkpoints(run_id))


@router.delete(
    "/checkpoints/{name}",
    summary="Remove a checkpoint",
    status_code=204,
    responses=problems(*GUARDED, UnknownRun, UnknownCheckpoint),
)
async def delete_checkpoint(run_id: RunId, name: CheckpointName, context: InContext) -> None:
    """Remove the name; the history it named stays."""
    await context.service.delete_checkpoint(run_id, name)


@router.post(
    "/restore",
    summary="Bring the run back to a checkpoint",
    responses=problems(*BODY, UnknownCheckpoint, StoreFull),
    openapi_extra=body_of("Restore"),
)
async def restore(run_id: RunId, request: Request, context: InContext) -> RunInfo:
    """Memories, windows, counters and request ids become what they were, on a new branch.

    The abandoned branch stays readable and its checkpoints can be restored. Requests that wait at the run's barrier are
    sent away with 503, and form again when they are retried.
    """
    wanted = await parse(request, Restore, context.settings)
    return await context.service.restore(run_id, wanted.checkpoint)


@router.post(
    "/fork",
    summary="Copy the run under another name",
    status_code=201,
    responses={201: {"description": "The copy."}, **problems(*BODY, UnknownCheckpoint, Conflict, StoreFull)},
    openapi_extra=body_of("Fork"),
)
async def fork(run_id: RunId, request: Request, context: InContext, caller: Caller) -> RunInfo:
    """The run as it was at the checkpoint, or as it is, request ids included; both go on by themselves."""
    wanted = await parse(request, Fork, context.settings)
    caller.require_run(wanted.run_id)
    return await context.service.fork(run_id, wanted.run_id, wanted.checkpoint)
