"""`AbandonedRequests`: requests whose caller disconnected before the response, kept for the caller's retry (L11)."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict, defaultdict, deque

CAPACITY = 16_384
"""Most requests kept; beyond it the oldest is dropped."""
MAX_AGE_S = 600.0
"""Seconds after which a request is dropped, because its caller will not retry any more."""

Work = asyncio.Task[bytes]


class AbandonedRequests:
    """Matches a retry with the request that it repeats.

    OpenRLHF sends no request ids, and sends a sample again if its response is late. Two requests with equal bodies may
    be a retry or two equal samples. They are a retry if the first one's connection was closed without a response; so
    each abandoned request is given to one later request with the same body.
    """

    def __init__(self) -> None:
        self._abandoned: OrderedDict[Work, tuple[bytes, float]] = OrderedDict()
        self._by_body: defaultdict[bytes, deque[Work]] = defaultdict(deque)

    def add(self, body: bytes, work: Work) -> None:
        """Keep a request's work, finished or not.

        Args:
            body: digest of the request's body.
            work: the task that computes the response.
        """
        self._abandoned[work] = (body, time.monotonic())
        self._by_body[body].append(work)
        while len(self._abandoned) > CAPACITY:
            self._drop_oldest()

    def take(self, body: bytes) -> Work | None:
        """Remove and return the oldest work with this body; None if there is none. Failed work is dropped."""
        while self._abandoned and next(iter(self._abandoned.values()))[1] < time.monotonic() - MAX_AGE_S:
            self._drop_oldest()
        while (abandoned := self._by_body.get(body)) is not None:
            work = abandoned.popleft()
            self._drop(work)
            if not _failed(work):
                return work
        return None

    def __len__(self) -> int:
        return len(self._abandoned)

    def _drop_oldest(self) -> None:
        # The oldest of all is also the oldest with its body.
        work, (body, _) = next(iter(self._abandoned.items()))
        self._by_body[body].popleft()
        self._drop(work)

    def _drop(self, work: Work) -> None:
        body, _ = self._abandoned.pop(work)
        if not self._by_body[body]:
            del self._by_body[body]


def _failed(work: Work) -> bool:
    return work.done() and (work.cancelled() or work.exception() is not None)
