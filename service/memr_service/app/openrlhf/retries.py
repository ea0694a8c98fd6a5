"""Work whose caller left before it was answered, kept for the caller to come back to (L11)."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict, defaultdict, deque

MOST = 16_384
"""So much work is kept; beyond it the oldest goes."""
LONGEST_S = 600.0
"""A caller who has not come back by then will not."""

Work = asyncio.Task[bytes]


class AbandonedRequests:
    """Whoever sends a body again takes the seat of one who sent the same and left, as often as one did.

    OpenRLHF gives a sample no id, and sends one whose answer is late again. Two equal bodies may also be two samples
    that say the same; what tells them apart is that the first one's connection was closed without an answer.
    """

    def __init__(self) -> None:
        self._left: OrderedDict[Work, tuple[bytes, float]] = OrderedDict()
        self._by_body: defaultdict[bytes, deque[Work]] = defaultdict(deque)

    def leave(self, body: bytes, work: Work) -> None:
        """Keep a seat, done or not, for the next who comes with this body (its digest)."""
        self._left[work] = (body, time.monotonic())
        self._by_body[body].append(work)
        while len(self._left) > MOST:
            self._forget_oldest()

    def take(self, body: bytes) -> Work | None:
        """The oldest seat that was left with this body; None if there is none. What failed is to be done anew."""
        while self._left and next(iter(self._left.values()))[1] < time.monotonic() - LONGEST_S:
            self._forget_oldest()
        while (left := self._by_body.get(body)) is not None:
            work = left.popleft()
            self._drop(work)
            if not _failed(work):
                return work
        return None

    def __len__(self) -> int:
        return len(self._left)

    def _forget_oldest(self) -> None:
        # The oldest of all is also the oldest of its body.
        work, (body, _) = next(iter(self._left.items()))
        self._by_body[body].popleft()
        self._drop(work)

    def _drop(self, work: Work) -> None:
        body, _ = self._left.pop(work)
        if not self._by_body[body]:
            del self._by_body[body]


def _failed(work: Work) -> bool:
    return work.done() and (work.cancelled() or work.exception() is not None)
