"""The HTTP edge. FastAPI is imported here only."""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import lru_cache, partial
from importlib.metadata import version

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response

from memr_service.app.access_log import AccessLog
from memr_service.app.auth import Authorise, Keys
from memr_service.app.context import Context
from memr_service.app.direct import Direct
from memr_service.app.forward import Forward
from memr_service.app.judging import EqualGroups, VerifierPool
from memr_service.app.lifecycle import Admit, Lifecycle
from memr_service.app.metrics import Metrics
from memr_service.app.openapi import describe
from memr_service.app.openrlhf import AbandonedRequests
from memr_service.app.parameters import KnownParameters, logged
from memr_service.app.problems import as_problem, problem_response
from memr_service.app.readiness import Readiness
from memr_service.app.routes import ALL_ROUTES
from memr_service.app.routes.reward import reward
from memr_service.app.same_origin import SameOrigin
from memr_service.engine.service import Service
from memr_service.insight.service import InsightService
from memr_service.settings import Settings, unknown_variables

logger = logging.getLogger("memr.app")


def create_app(settings: Settings, service: Service | None = None) -> FastAPI:
    """The whole HTTP service over a `Service`, which is made from the settings if none is given.

    A request goes through `AccessLog` (request id, access line, metrics; every exception becomes a problem document),
    `SameOrigin` (no page of another site sent it), `Authorise` (the route exists, and the caller may use it),
    `KnownParameters` (the route has its query parameters) and `Admit` (the server takes requests) to its route. The
    app's lifespan starts the service and closes it at the end.

    `POST /reward` is called by `Direct`; FastAPI's own route of it is there for the OpenAPI document only.

    Raises:
        MemrError: the keys file is wrong, or the store cannot be opened.
    """
    for warning in unknown_variables(os.environ):
        logger.warning(warning)
    keys = Keys.read(settings.keys_file)
    service = service or Service.open(settings)
    lifecycle, insight = Lifecycle(), InsightService(service)
    metrics = Metrics(service, insight, run_label=settings.run_label)
    app = FastAPI(
        title="memr",
        version=version("memr"),
        lifespan=_lifespan,
        routes=ALL_ROUTES,
        redirect_slashes=False,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        exception_handlers={HTTPException: _respond, RequestValidationError: _respond},
        middleware=[
            Middleware(AccessLog, metrics=metrics, settings=settings, parameters=logged(ALL_ROUTES)),
            Middleware(SameOrigin, settings=settings),
            Middleware(Authorise, keys=keys),
            Middleware(KnownParameters, routes=ALL_ROUTES),
            Middleware(Admit, lifecycle=lifecycle),
            Middleware(Direct, endpoints={("/reward", "POST"): reward}),
        ],
    )
    readiness, forward = Readiness(service, lifecycle), Forward(service.barriers.lease)
    judging = VerifierPool(service.text_thread), AbandonedRequests(), EqualGroups()
    app.state.context = Context(settings, service, insight, lifecycle, readiness, metrics, forward, *judging)
    app.openapi = lru_cache(partial(describe, app))  # type: ignore[method-assign]
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Start the service and admit requests; at the end drain and close."""
    context: Context = app.state.context
    await context.service.start()
    context.lifecycle.open()
    yield
    context.lifecycle.drain()
    await context.service.close()
    await context.forward.close()
    await context.verifier_pool.close()


async def _respond(request: Request, error: Exception) -> Response:
    """The problem document for an error that FastAPI raises itself."""
    problem = as_problem(error)
    request.state.problem = problem.slug
    return problem_response(problem, request.state.request_id)
