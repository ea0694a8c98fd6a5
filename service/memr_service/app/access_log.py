"""`AccessLog`: gives every request an id, a response, an access line in the log, and metrics."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Set
from typing import Any

from memr_client.errors import EncoderUnusable, InternalError
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from memr_service.app import logs
from memr_service.app.arrived_bodies import ArrivedBodies
from memr_service.app.body import PARSER
from memr_service.app.large_bodies import LargeBodies, Place
from memr_service.app.lifecycle import ALWAYS_OPEN
from memr_service.app.metrics import Metrics
from memr_service.app.problems import as_problem, problem_response
from memr_service.run.malloc import give_back
from memr_service.settings import Settings

logger = logging.getLogger("memr.app")

CLIENT_LEFT = 499
"""Status in logs and metrics of a request whose caller disconnected."""
GIVE_BACK_AFTER_S = 0.5
"""Seconds after a large request until the memory that it left free is given back."""
SAFE = (
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
"""Headers of every response, unless it has its own: a browser runs nothing of it, shows it in no other page's frame,
takes it for nothing but its content type, and gives it to no page of another origin."""


class AccessLog:
    """The outermost ASGI middleware. `parameters`: the query parameters whose values are logged."""

    def __init__(self, app: ASGIApp, metrics: Metrics, settings: Settings, parameters: Set[str]) -> None:
        self.app = app
        self.parameters = parameters
        self.metrics = metrics
        self.arrived_bodies = ArrivedBodies(max(settings.max_arrived_bytes, settings.max_body_bytes))
        self.large_bodies = LargeBodies()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, then log and count it, whatever happened."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        fields = logs.identify(Headers(scope=scope))
        state = scope.setdefault("state", {})
        state |= {"request_id": fields["request_id"], "arrived": time.monotonic(), "route": None}
        response = _Response(send, fields["request_id"])
        place = state["place"] = Place(self.arrived_bodies, self.large_bodies, (scope.get("client") or [""])[0])
        token = logs.CURRENT.set(fields)
        try:
            await self._respond(scope, receive, response)
            await asyncio.sleep(0)  # let the event loop send the response before the request is logged
        finally:
            self._record(scope, response.status, fields)
            logs.CURRENT.reset(token)
            place.leave()
            state.pop("body", None)  # the connection keeps its last request
            if state.pop("is_large", False):
                asyncio.get_running_loop().call_later(GIVE_BACK_AFTER_S, PARSER.submit, give_back)

    async def _respond(self, scope: Scope, receive: Receive, response: _Response) -> None:
        """Run the app. An exception becomes a problem document."""
        try:
            await self.app(scope, receive, response)
        except ClientDisconnect:
            return
        except Exception as error:
            problem = as_problem(error)
            scope["state"]["problem"] = problem.slug
            if isinstance(problem, InternalError):
                logger.exception("request failed")
            elif isinstance(problem, EncoderUnusable):  # a server's log has it; an embedded service's caller shows it
                logger.info("%s", problem.in_one_line)
            if response.status != CLIENT_LEFT:
                raise  # The response has begun, so the only way to report the failure is to break the connection.
            answer = problem_response(problem, response.request_id)
            del problem  # it knows this frame: the two would keep each other, with the body, until a search for garbage
            await answer(scope, receive, response)

    def _record(self, scope: Scope, status: int, fields: dict[str, str]) -> None:
        """Count the request and write its access line. Unknown fields are left out of the line."""
        state = scope["state"]
        route, seconds = state["route"] or "unknown", time.monotonic() - state["arrived"]
        self.metrics.count_request(route, status, seconds)
        known: dict[str, Any] = {name: state.get(name) for name in ("run_id", "n", "problem")}
        if caller := state.get("caller"):
            known["caller"] = caller.name
        line = {
            **fields,
            "method": scope["method"],
            "route": route,
            "path": logs.path(scope, self.parameters),
            "status": status,
            "ms": round(seconds * 1000, 3),
            **{name: value for name, value in known.items() if value is not None},
        }
        logs.access.log(_level(route, status), "request", extra=line)


def _level(route: str, status: int) -> int:
    """Probes come every few seconds: they are logged only if they fail."""
    if route not in ALWAYS_OPEN:
        return logging.INFO
    return logging.DEBUG if status < 400 else logging.WARNING


class _Response:
    """A `send` function that adds the request's id and `SAFE` to the response, and records its status."""

    def __init__(self, send: Send, request_id: str) -> None:
        self.send = send
        self.request_id = request_id
        self.status = CLIENT_LEFT

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            own = message.get("headers", ())
            named = {name for name, _ in own}
            added = [(b"x-request-id", self.request_id.encode()), *SAFE]
            message["headers"] = [*own, *(header for header in added if header[0] not in named)]
        await self.send(message)
