"""`KnownParameters`: refuses query parameters that a route does not have, as bodies refuse unknown fields."""

from __future__ import annotations

from collections.abc import Sequence

from fastapi.routing import APIRoute
from memr_client.errors import InvalidRequest
from memr_client.schemas import suggestion
from starlette.datastructures import QueryParams
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from memr_service.app.auth import KEY_IN_QUERY

UNLOGGED = frozenset({"key", "text", "prompt"})
"""Parameters whose values are an API key, a part of a prompt or completion, or a prompt's identity."""


def logged(routes: Sequence[BaseRoute]) -> frozenset[str]:
    """Names of all routes' query parameters whose values may be logged."""
    return frozenset(name for names in _parameters(routes).values() for name in names) - UNLOGGED


class KnownParameters:
    """ASGI middleware: checks the names of the query parameters. Values are the routes' own."""

    def __init__(self, app: ASGIApp, routes: Sequence[BaseRoute]) -> None:
        self.app = app
        self.known = _parameters(routes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on.

        Raises:
            InvalidRequest: its route has no parameter of that name.
        """
        if scope["type"] == "http" and scope["query_string"]:
            route = scope["state"]["route"]
            known = self.known.get((route, scope["method"]), [])
            for name in QueryParams(scope["query_string"]):
                if name not in known:
                    raise _unknown(name, known, route)
        await self.app(scope, receive, send)


def _parameters(routes: Sequence[BaseRoute]) -> dict[tuple[str, str], list[str]]:
    """(route, method) -> the names of its query parameters."""
    found: dict[tuple[str, str], list[str]] = {}
    for route in routes:
        if isinstance(route, APIRoute):
            names = [parameter.alias for parameter in route.dependant.query_params]
            names += ["key"] if route.path in KEY_IN_QUERY else []
            found |= {(route.path, method): names for method in route.methods or ()}
    return found


def _unknown(name: str, known: list[str], route: str) -> InvalidRequest:
    """The refusal of a parameter. Its value is not repeated: it may be a key."""
    remedy = suggestion(name, known) or f"{route} takes no parameters."
    if name == "key":
        remedy = "Send an API key in the header `Authorization: Bearer KEY` or `X-API-Key: KEY`."
    return InvalidRequest(
        f"there is no parameter {name[:64]!r}.",
        value=name[:64],
        limit=", ".join(known) or "no parameters",
        remedy=remedy,
    )
