"""`Tries`: how often and for how long one call is tried."""

from __future__ import annotations

import math
import time
from random import SystemRandom

import httpx

from memr_client.responses import retry_after

TRANSIENT = frozenset({429, 502, 503, 504})
"""Statuses after which the same call may succeed later."""
FIRST_PAUSE_S = 0.25
LONGEST_CONNECT_S = 10.0
FIRST_CONNECT_S = 2.0
"""For the first of several tries, so that an address that does not respond is reported soon."""

# Not the global generator: it belongs to the caller, and forked children would pause in step.
_random = SystemRandom()


class Tries:
    """The tries of one call. They end after `timeout` seconds or `retries` pauses, whichever comes first.

    Pauses double from 0.25 s to `longest_pause`, with jitter. A longer `Retry-After` is respected if it fits into the
    time that is left.
    """

    def __init__(self, timeout: float, retries: float, longest_pause: float = 16.0) -> None:
        self._started = time.monotonic()
        self._ends = self._started + timeout
        self._retries = retries
        self._longest_pause = longest_pause
        self.made = 1

    @property
    def elapsed(self) -> float:
        """Seconds since the first try began."""
        return time.monotonic() - self._started

    @property
    def remaining(self) -> float:
        """Seconds left for the current try and all further ones."""
        return max(0.001, self._ends - time.monotonic())

    def outlook(self) -> str:
        """For how long the call will be tried again, and which of its tries is next; for messages."""
        tries = "" if math.isinf(self._retries) else f" of at most {int(self._retries) + 1}"
        return f"for up to {self.remaining:.0f} s (try {self.made}{tries})"

    def limits(self) -> httpx.Timeout:
        """The next try's timeouts. Connecting has a shorter one than the response."""
        remaining = self.remaining
        connect = FIRST_CONNECT_S if self.made == 1 and self._retries > 0 else LONGEST_CONNECT_S
        return httpx.Timeout(remaining, connect=min(remaining, connect))

    def pause_after(self, result: httpx.Response | httpx.RequestError) -> float | None:
        """Seconds to pause before the next try; None if `result` is final."""
        if self.made > self._retries or not _is_transient(result):
            return None
        pause = min(FIRST_PAUSE_S * 2.0 ** min(self.made - 1, 32), self._longest_pause) * _random.uniform(0.5, 1.0)
        if isinstance(result, httpx.Response):
            pause = max(pause, retry_after(result))
        if pause >= self.remaining:
            return None
        self.made += 1
        return pause


def _is_transient(result: httpx.Response | httpx.RequestError) -> bool:
    if isinstance(result, httpx.Response):
        return result.status_code in TRANSIENT
    misuse = (httpx.UnsupportedProtocol, httpx.LocalProtocolError)
    return isinstance(result, httpx.TransportError) and not isinstance(result, misuse)
