"""Routes of the server itself: health checks, presets, versions, metrics."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from memr_client.errors import InternalError, Unavailable
from memr_client.schemas import Version

from memr_service.app.context import Caller, InContext
from memr_service.app.metrics import CONTENT_TYPE
from memr_service.app.openapi import COMMON, operation_id, problems
from memr_service.run.presets import spelled_out

router = APIRouter(tags=["server"], generate_unique_id_function=operation_id)


@router.get("/livez", summary="Check that the process is alive")
async def livez() -> dict[str, str]:
    """Always 200. Restart the process if it does not respond."""
    return {"status": "alive"}


@router.get("/readyz", summary="Check that the server accepts requests", responses=problems(Unavailable, InternalError))
async def readyz(context: InContext) -> dict[str, Any]:
    """200 if the server accepts requests, otherwise 503 with the failing checks.

    An encoder that is not loaded yet is no failure; one that could not be loaded is, unless `MEMR_PRELOAD` is off.
    """
    failing = await context.readiness.failing()
    encoder = context.service.encoder_state()
    if failing:
        raise Unavailable(
            f"Not ready: {', '.join(failing)}.",
            remedy="Wait, or fix what `failing` describes.",
            retry_after=1,
            failing=failing,
            encoder=encoder,
        )
    return {"status": "ready", "encoder": encoder}


@router.get("/presets", summary="List the presets", responses=problems(*COMMON))
async def presets(context: InContext) -> dict[str, dict[str, Any]]:
    """Every preset with all fields of its config on this server."""
    return spelled_out(context.settings.encoder)


@router.get("/openapi.json", include_in_schema=False)
def openapi(request: Request) -> JSONResponse:
    """The OpenAPI document. It is made when it is first asked for, in a thread, because that takes half a second."""
    return JSONResponse(request.app.openapi())


@router.get("/version", summary="Versions of the service and its libraries", responses=problems(*COMMON))
async def version(context: InContext) -> Version:
    """memr's version and law, the fingerprint of the default encoder (null until it is loaded), library versions."""
    return await context.service.version()


@router.get("/metrics", summary="Prometheus metrics", response_class=Response, responses=problems(*COMMON))
async def metrics(context: InContext, caller: Caller) -> Response:
    """The server's metrics in Prometheus' text format."""
    if context.settings.run_label:
        caller.require_run("")  # A key for some runs must not learn the names of others.
    return Response(await context.metrics.exposition(), media_type=CONTENT_TYPE)
