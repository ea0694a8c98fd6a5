"""The outermost layer: every request gets an id, an answer whatever happens, an access line and its metrics."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any

from memr_client.errors import InternalError
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from memr_service.app import logs
from memr_service.app.metrics import Metrics
from memr_service.app.problems import as_problem, problem_response

logger = logging.getLogger("memr.app")

CLIENT_LEFT = 499
"""Logged and counted as the status of requests whose caller went away."""


class AccessLog:
    """ASGI middleware around everything else."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app = app
        self.metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request; it is on record in any case."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        fields = logs.identify(Headers(scope=scope))
        state = scope.setdefault("state", {})
        state |= {"request_id": fields["request_id"], "arrived": time.monotonic(), "route": None}
        answer = _Answer(send, fields["request_id"])
        token = logs.CURRENT.set(fields)
        try:
            await self._answer(scope, receive, answer)
            await asyncio.sleep(0)  # the answer leaves at the end of the event loop's round: what follows can wait
        finally:
            self._record(scope, answer.status, fields)
            logs.CURRENT.reset(token)

    async def _answer(self, scope: Scope, receive: Receive, answer: _Answer) -> None:
        """Run the app; what it raises becomes a problem document."""
        try:
            await self.app(scope, receive, answer)
        except ClientDisconnect:
            return
        except Exception as error:
            problem = as_problem(error)
            scope["state"]["problem"] = problem.slug
            if isinstance(problem, InternalError):
                logger.exception("request failed")
            if answer.status != CLIENT_LEFT:
                raise  # The answer has begun: all that is left is to break the connection.
            await problem_response(problem, answer.request_id)(scope, receive, answer)

    def _record(self, scope: Scope, status: int, fields: dict[str, str]) -> None:
        """Metrics, and the access line. What is not known of the request is not in the line."""
        state = scope["state"]
        route, seconds = state["route"] or "unknown", time.monotonic() - state["arrived"]
        self.metrics.count_request(route, status, seconds)
        about: dict[str, Any] = {name: state.get(name) for name in ("run_id", "n", "problem")}
        if caller := state.get("caller"):
            about["caller"] = caller.name
        line = {
            **fields,
            "method": scope["method"],
            "route": route,
            "path": logs.path(scope),
            "status": status,
            "ms": round(seconds * 1000, 3),
            **{name: value for name, value in about.items() if value is not None},
        }
        logs.access.info("request", extra=line)


class _Answer:
    """`send`, which puts the request's id on the answer and remembers its status."""

    def __init__(self, send: Send, request_id: str) -> None:
        self.send = send
        self.request_id = request_id
        self.status = CLIENT_LEFT

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            MutableHeaders(scope=message)["X-Request-Id"] = self.request_id
        await self.send(message)
