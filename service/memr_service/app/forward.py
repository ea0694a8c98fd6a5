"""`Forward`: sends a request to the replica that holds the run's barrier (see `memr_service.engine.barriers.lease`)."""

from __future__ import annotations

import asyncio
import contextlib
from functools import cached_property

import httpx
from fastapi import Request, Response
from memr_client.errors import ProblemError

from memr_service.app.disconnect import while_connected
from memr_service.engine.barriers import BarrierLease, HeldElsewhere

FORWARDED = "x-memr-relayed"
"""Header of a forwarded request. It is not forwarded again; otherwise two services could send it to and fro."""
DROPPED = {"host", "origin", "content-length", "connection", "transfer-encoding", "accept-encoding"}
"""Request headers that belong to one connection and are not forwarded."""
KEPT = ("content-type", "retry-after", "idempotency-replayed", "server-timing")
"""Response headers that are passed to the caller."""
CHECK_S = 1.0
"""Seconds between checks that the holder still has the barrier while a request waits there. A stopped process never
responds."""
CONNECT_S = 2.0


class Forward:
    """Forwards requests to other replicas. One instance per app."""

    def __init__(self, lease: BarrierLease) -> None:
        self._lease = lease

    async def __call__(self, request: Request, elsewhere: HeldElsewhere) -> Response:
        """The response of the replica that holds the barrier. That replica checks keys and limits.

        Raises:
            HeldElsewhere: the replica cannot be reached, did not respond, or no longer holds the barrier. The caller
                should try again.
            ClientDisconnect: the caller disconnected.
        """
        if not elsewhere.address or FORWARDED in request.headers:
            raise elsewhere
        request.state.place.leave()
        return await while_connected(request, self._forward(request, elsewhere))

    async def close(self) -> None:
        """Close the connections."""
        if "_client" in vars(self):
            await self._client.aclose()

    @cached_property
    def _client(self) -> httpx.AsyncClient:
        # Unbounded, as in memr's own clients: requests that wait for each other hold one connection each.
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=20)
        return httpx.AsyncClient(timeout=httpx.Timeout(None, connect=CONNECT_S), limits=limits, trust_env=False)

    async def _forward(self, request: Request, elsewhere: HeldElsewhere) -> Response:
        url = httpx.URL(elsewhere.address).copy_with(path=request.scope["path"], query=request.scope["query_string"])
        headers = {name: value for name, value in request.headers.items() if name not in DROPPED}
        headers |= {FORWARDED: "1", "x-request-id": request.state.request_id}
        sent = self._client.request(request.method, url, content=bytes(request.state.body), headers=headers)
        waiting = asyncio.create_task(sent)
        try:
            while not waiting.done():
                await asyncio.wait({waiting}, timeout=CHECK_S)
                if not waiting.done() and not await self._is_still_held(elsewhere):
                    raise elsewhere
            response = waiting.result()
        except httpx.RequestError as error:
            raise elsewhere from error
        finally:
            waiting.cancel()
        kept = {name: response.headers[name] for name in KEPT if name in response.headers}
        return Response(response.content, response.status_code, kept)

    async def _is_still_held(self, elsewhere: HeldElsewhere) -> bool:
        with contextlib.suppress(ProblemError):  # if the store cannot be asked, keep waiting
            return await self._lease.unchanged(elsewhere)
        return True
