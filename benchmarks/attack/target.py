"""What an attack has in hand: a way to send requests, and a tally of what became of them."""

from __future__ import annotations

import gzip
import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx
import orjson

PATIENCE_S = 15.0
"""Seconds after which an attacker hangs up."""
SET_UP_S = 20.0
"""Seconds after which preparations are given up."""
NO_ANSWER = 0
"""In place of a status: the attacker hung up, or the connection broke."""


class Target:
    """The server, as an attack sees it. Its methods may be called from several threads."""

    def __init__(self, url: str, until: float) -> None:
        self.url = httpx.URL(url)
        self.until = until
        """When the attack ends (`time.monotonic`)."""
        self.statuses: Counter[int] = Counter()
        self.failed: list[str] = []
        """Requests that got a 500, and what a check found wrong, the first few."""
        self._lock = threading.Lock()
        self._mine = threading.local()

    def send(
        self,
        method: str,
        path: str,
        body: Any = b"",
        packed: bool = False,
        patience: float = PATIENCE_S,
        **headers: str,
    ) -> httpx.Response | None:
        """Send a request and count its status; None if there was no response.

        Args:
            body: bytes, or something that becomes JSON.
            packed: compress the body with gzip.
            headers: with _ for -; an empty one is not sent. A body is JSON unless `content_type` says otherwise.
        """
        content = body if isinstance(body, bytes) else orjson.dumps(body)
        if packed:
            content, headers = gzip.compress(content, 6), headers | {"content_encoding": "gzip"}
        if content:
            headers = {"content_type": "application/json"} | headers
        named = {name.replace("_", "-"): value.encode() for name, value in headers.items() if value}
        try:
            response = self._client.request(
                method, self.url.join(path), content=content, headers=named, timeout=patience
            )
        except httpx.HTTPError:
            self.count(NO_ANSWER)
            return None
        self.count(response.status_code)
        if response.status_code == 500:
            self.wrong(f"{method} {path}: {response.text[:300]} for {content[:300]!r}")
        return response

    def set_up(self, method: str, path: str, body: Any = b"", **headers: str) -> bytes:
        """A request that prepares an attack; it is not counted and must succeed."""
        content = body if isinstance(body, bytes) else orjson.dumps(body)
        named = {"content-type": "application/json"} | {name.replace("_", "-"): one for name, one in headers.items()}
        response = self._client.request(method, self.url.join(path), content=content, headers=named, timeout=SET_UP_S)
        return response.raise_for_status().content

    def connect(self) -> socket.socket:
        """A bare connection."""
        return socket.create_connection((self.url.host, int(self.url.port or 80)), PATIENCE_S)

    def count(self, status: int) -> None:
        """Count a request."""
        with self._lock:
            self.statuses[status] += 1

    def wrong(self, what: str) -> None:
        """Note a defect."""
        with self._lock:
            self.failed.append(what)

    @property
    def over(self) -> bool:
        """Whether the attack's time is over."""
        return time.monotonic() >= self.until

    @property
    def _client(self) -> httpx.Client:
        if not hasattr(self._mine, "client"):
            self._mine.client = httpx.Client()
        client: httpx.Client = self._mine.client
        return client


def nothing(target: Target) -> None:
    """No preparation."""


@dataclass(frozen=True)
class Attack:
    """One kind of attack."""

    name: str
    strike: Callable[[Target, random.Random], object]
    """Sends one request or a few; called again and again by several attackers at once."""
    prepare: Callable[[Target], object] = nothing
    attackers: int = 4
    refused: bool = False
    """Whether every request must be refused."""

    def run(self, target: Target, seed: int) -> None:
        """Attack until the target's time is over."""

        def attack(number: int) -> None:
            rng = random.Random(f"{seed} {self.name} {number}")
            while not target.over:
                self.strike(target, rng)

        threads = [threading.Thread(target=attack, args=(number,), daemon=True) for number in range(self.attackers)]
        for one in threads:
            one.start()
        for one in threads:
            one.join()
