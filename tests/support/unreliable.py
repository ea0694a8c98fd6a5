"""A proxy that does to a service's rewards what networks and dying servers do: for tests of retries.

The first time a reward request is sent, it may meet a `Fault`; its retries pass. Everything else passes.
"""

from __future__ import annotations

import asyncio
import json
import random
import socket
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any, Literal

import httpx
import uvicorn

Fault = Literal["passed", "refused", "lost", "silent", "unanswered", "doubled"]
"""refused: 500, and it never arrived; lost: 500, though it was answered; silent: no answer, and it never arrived;
unanswered: no answer, though there was one; doubled: it arrives twice."""
FAULTS: tuple[Fault, ...] = ("refused", "lost", "silent", "unanswered", "doubled")

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class Unreliable:
    """An ASGI app in front of the service at `url`; `met` counts what happened to first tries.

    Args:
        share: of the first tries that meet a fault.
        path: of the requests that may meet one.
    """

    def __init__(self, url: str, seed: int, share: float, path: str = "/reward") -> None:
        self.met: Counter[Fault] = Counter()
        self.retries = 0
        self._url = url
        self._path = path
        self._cards: list[Fault] = [*FAULTS, *["passed"] * round(len(FAULTS) / share - len(FAULTS))]
        self._deck: list[Fault] = []
        self._random = random.Random(seed)
        self._seen: set[str] = set()
        self._client: httpx.AsyncClient
        self._forwarding: set[asyncio.Future[httpx.Response]] = set()

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """One request; or the server's life, whose connections are opened and closed in its event loop."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        else:
            await self._pass_on(scope, receive, send)

    async def _pass_on(self, scope: Message, receive: Receive, send: Send) -> None:
        body = await _body(receive)
        fault = self._draw(body) if scope["path"] == self._path else "passed"
        answer = None
        if fault not in ("refused", "silent"):
            forwarded = [self._forward(scope, body) for _ in range(2 if fault == "doubled" else 1)]
            answer = (await asyncio.gather(*forwarded))[0]
        if fault in ("silent", "unanswered"):
            while (await receive())["type"] != "http.disconnect":
                pass
        elif answer is None or fault == "lost":
            await _send(send, 500, b"text/plain", b"the proxy is not well")
        else:
            content_type = answer.headers.get("content-type", "text/plain").encode()
            await _send(send, answer.status_code, content_type, answer.content)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=20)
        async with httpx.AsyncClient(base_url=self._url, timeout=None, limits=limits) as self._client:
            await send({"type": "lifespan.startup.complete"})
            await receive()
        await send({"type": "lifespan.shutdown.complete"})

    def _draw(self, body: bytes) -> Fault:
        request_id = json.loads(body)["request_id"]
        if request_id in self._seen:
            self.retries += 1
            return "passed"
        self._seen.add(request_id)
        if not self._deck:  # dealt like cards, so that every fault is met soon and equally often
            self._deck = self._random.sample(self._cards, len(self._cards))
        fault = self._deck.pop()
        self.met[fault] += 1
        return fault

    async def _forward(self, scope: Message, body: bytes) -> httpx.Response:
        headers = [(name, value) for name, value in scope["headers"] if name in (b"content-type", b"authorization")]
        sent = asyncio.ensure_future(
            self._client.request(scope["method"], scope["path"], content=body, headers=headers)
        )
        # It goes on when the caller has gone, as it would on a wire.
        self._forwarding.add(sent)
        sent.add_done_callback(self._forwarding.discard)
        return await asyncio.shield(sent)


@contextmanager
def unreliable(url: str, seed: int, share: float, path: str = "/reward") -> Iterator[tuple[str, Unreliable]]:
    """The proxy on a port of its own, in a thread of its own; its url and itself."""
    proxy = Unreliable(url, seed, share, path)
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(proxy, lifespan="on", log_config=None, timeout_graceful_shutdown=1))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, name="unreliable")
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}", proxy
        finally:
            server.should_exit = True
            thread.join()


async def _body(receive: Receive) -> bytes:
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            return body


async def _send(send: Send, status: int, content_type: bytes, content: bytes) -> None:
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", content_type)]})
    await send({"type": "http.response.body", "body": content})
