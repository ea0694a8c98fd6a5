"""The server itself: is it alive, is it ready, what is it, what has it done."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Response
from memr_client.errors import InternalError, Unavailable
from memr_client.schemas import Version

from memr_service.app.context import Caller, InContext
from memr_service.app.metrics import CONTENT_TYPE
from memr_service.app.openapi import GUARDED, problems
from memr_service.run.presets import spelled_out

router = APIRouter(tags=["server"])


@router.get("/livez", summary="Is the process alive?")
async def livez() -> dict[str, str]:
    """200 as long as the process answers at all; restart it when it does not."""
    return {"status": "alive"}


@router.get("/readyz", summary="Does it take requests?", responses=problems(Unavailable, InternalError))
async def readyz(context: InContext) -> dict[str, Any]:
    """200 when requests are taken, else 503 naming what fails. The encoder loads on demand and does not count."""
    failing = await context.readiness.failing()
    encoder = context.service.encoder_state()
    if failing:
        raise Unavailable(
            f"Not ready: {', '.join(failing)}.",
            remedy="Wait, or look at what `failing` says.",
            retry_after=1,
            failing=failing,
            encoder=encoder,
        )
    return {"status": "ready", "encoder": encoder}


@router.get("/presets", summary="The presets spelled out", responses=problems(*GUARDED))
async def presets(context: InContext) -> dict[str, dict[str, Any]]:
    """Every preset as the whole config it stands for on this server."""
    return spelled_out(context.settings.encoder)


@router.get("/version", summary="Versions of what takes part in a reward", responses=problems(*GUARDED))
async def version(context: InContext) -> Version:
    """memr's version and law, the default encoder's fingerprint once it is loaded, and the libraries' versions."""
    return await context.service.version()


@router.get("/metrics", summary="Prometheus metrics", response_class=Response, responses=problems(*GUARDED))
async def metrics(context: InContext, caller: Caller) -> Response:
    """What the server has done, in Prometheus' text format."""
    if context.settings.run_label:
        caller.require_run("")  # A key bound to some runs must not learn the names of the others.
    return Response(await context.metrics.exposition(), media_type=CONTENT_TYPE)
