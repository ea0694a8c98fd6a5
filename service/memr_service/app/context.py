"""What every route can use: the parts of the app, and the caller's key."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Path, Request
from memr_client.schemas import Name

from memr_service.app.auth import Key
from memr_service.app.forward import Forward
from memr_service.app.judging import EqualGroups, VerifierPool
from memr_service.app.lifecycle import Lifecycle
from memr_service.app.metrics import Metrics
from memr_service.app.openrlhf import AbandonedRequests
from memr_service.app.readiness import Readiness
from memr_service.engine.service import Service
from memr_service.insight.service import InsightService
from memr_service.settings import Settings


@dataclass(frozen=True)
class Context:
    """The parts of one app."""

    settings: Settings
    service: Service
    insight: InsightService
    lifecycle: Lifecycle
    readiness: Readiness
    metrics: Metrics
    forward: Forward
    verifier_pool: VerifierPool
    abandoned: AbandonedRequests
    equal_groups: EqualGroups


async def _context(request: Request) -> Context:
    context = request.app.state.context
    assert isinstance(context, Context)
    return context


async def _caller(request: Request) -> Key:
    key = request.state.caller
    assert isinstance(key, Key)
    return key


InContext = Annotated[Context, Depends(_context)]
Caller = Annotated[Key, Depends(_caller)]
RunId = Annotated[Name, Path(description="The run's name.")]
