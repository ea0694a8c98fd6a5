"""`Direct`: calls the function of a route at once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

Endpoint = Callable[[Request], Awaitable[Response]]


class Direct:
    """The innermost ASGI middleware: some routes go to their functions, past FastAPI's handling of requests, which
    costs nearly as much as a reward of sent embeddings. Their errors are the access log's, as all errors are.

    Args:
        endpoints: (route, method) -> its function.
    """

    def __init__(self, app: ASGIApp, endpoints: Mapping[tuple[str, str], Endpoint]) -> None:
        self.app = app
        self.endpoints = endpoints

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Respond, or pass the request on."""
        endpoint = self.endpoints.get((scope["state"]["route"], scope["method"])) if scope["type"] == "http" else None
        if endpoint is None:
            await self.app(scope, receive, send)
        else:
            response = await endpoint(Request(scope, receive, send))
            await response(scope, receive, send)
