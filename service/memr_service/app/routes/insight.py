"""Questions about a run: why this reward, what if, is it collapsing, what to cite."""

from __future__ import annotations

from fastapi import APIRouter, Request
from memr_client.errors import MalformedBody, TooLarge, UnknownRun, UnsupportedMedia
from memr_client.insight import ReplayLine, ReplayRequest
from starlette.responses import StreamingResponse

from memr_service.app.body import parse
from memr_service.app.context import InContext, RunId
from memr_service.app.openapi import GUARDED, body_of, lines_of, problems

router = APIRouter(prefix="/runs/{run_id}", tags=["insight"])

BODY = (*GUARDED, MalformedBody, UnknownRun, TooLarge, UnsupportedMedia)


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
