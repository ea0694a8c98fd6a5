"""Requests whose run's barrier another service keeps are passed on to that one, as they came (see `barrier.keeper`)."""

from __future__ import annotations

import asyncio
import contextlib
from functools import cached_property

import httpx
from fastapi import Request, Response
from memr_client.errors import ProblemError

from memr_service.app.disconnect import while_connected
from memr_service.engine.barriers import BarrierLease, HeldElsewhere

RELAYED = "x-memr-relayed"
"""Marks what has been passed on: it is not passed on again, or two services that disagree would play with it."""
DROPPED = {"host", "content-length", "connection", "transfer-encoding", "accept-encoding"}
"""Headers that belong to one connection."""
KEPT = ("content-type", "retry-after", "idempotency-replayed", "server-timing")
"""Headers of the answer that the caller gets to see."""
LOOK_S = 1.0
"""How often a request that waits elsewhere is looked after: a keeper that was stopped never answers."""
CONNECT_S = 2.0


class Forward:
    """Asks another service in the caller's name. One for an app."""

    def __init__(self, keeper: BarrierLease) -> None:
        self._keeper = keeper

    async def __call__(self, request: Request, elsewhere: HeldElsewhere) -> Response:
        """The answer of the service that keeps the barrier; it is the one who checks keys and limits.

        Raises:
            Elsewhere: it cannot be asked, did not answer, or keeps the barrier no more. The caller should try again.
            ClientDisconnect: the caller went away.
        """
        if not elsewhere.address or RELAYED in request.headers:
            raise elsewhere
        return await while_connected(request, self._ask(request, elsewhere))

    async def close(self) -> None:
        """Hang up."""
        if "_client" in vars(self):
            await self._client.aclose()

    @cached_property
    def _client(self) -> httpx.AsyncClient:
        # No bound on connections, as in memr's own clients: those who wait for each other hold one each.
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=20)
        return httpx.AsyncClient(timeout=httpx.Timeout(None, connect=CONNECT_S), limits=limits, trust_env=False)

    async def _ask(self, request: Request, elsewhere: HeldElsewhere) -> Response:
        url = httpx.URL(elsewhere.address).copy_with(path=request.scope["path"], query=request.scope["query_string"])
        headers = {name: value for name, value in request.headers.items() if name not in DROPPED}
        headers |= {RELAYED: "1", "x-request-id": request.state.request_id}
        sent = self._client.request(request.method, url, content=request.state.body, headers=headers)
        asking = asyncio.create_task(sent)
        try:
            while not asking.done():
                await asyncio.wait({asking}, timeout=LOOK_S)
                if not asking.done() and not await self._stays(elsewhere):
                    raise elsewhere
            answer = asking.result()
        except httpx.RequestError as error:
            raise elsewhere from error
        finally:
            asking.cancel()
        shown = {name: answer.headers[name] for name in KEPT if name in answer.headers}
        return Response(answer.content, answer.status_code, shown)

    async def _stays(self, elsewhere: HeldElsewhere) -> bool:
        with contextlib.suppress(ProblemError):  # who cannot ask the store waits on
            return await self._keeper.stays(elsewhere)
        return True
