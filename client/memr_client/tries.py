"""How often and how long one call is tried."""

from __future__ import annotations

import time
from random import SystemRandom

import httpx

from memr_client.calls import retry_after

TRANSIENT = frozenset({429, 502, 503, 504})
"""Statuses that say "later": the same call may succeed."""
FIRST_PAUSE_S = 0.25
LONGEST_CONNECT_S = 10.0

# Not the shared generator: its state is the caller's, and forked children would pause in step.
_random = SystemRandom()


class Tries:
    """One call's tries: pauses double from 0.25 s to `longest_pause`, until `timeout` s or `retries` pauses are over.

    Whatever the service asks for with `Retry-After` is waited, if it fits into the time that is left.
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
        """Seconds left for everything that is still to come."""
        return max(0.001, self._ends - time.monotonic())

    def limits(self) -> httpx.Timeout:
        """The next try's timeouts; a connection that does not open is given up sooner than an answer."""
        remaining = self.remaining
        return httpx.Timeout(remaining, connect=min(remaining, LONGEST_CONNECT_S))

    def pause_after(self, outcome: httpx.Response | httpx.RequestError) -> float | None:
        """Seconds to pause before the next try; None: `outcome` is final."""
        if self.made > self._retries or not _is_transient(outcome):
            return None
        pause = min(FIRST_PAUSE_S * 2.0 ** min(self.made - 1, 32), self._longest_pause) * _random.uniform(0.5, 1.0)
        if isinstance(outcome, httpx.Response):
            pause = max(pause, retry_after(outcome))
        if pause >= self.remaining:
            return None
        self.made += 1
        return pause


def _is_transient(outcome: httpx.Response | httpx.RequestError) -> bool:
    if isinstance(outcome, httpx.Response):
        return outcome.status_code in TRANSIENT
    misuse = (httpx.UnsupportedProtocol, httpx.LocalProtocolError)
    return isinstance(outcome, httpx.TransportError) and not isinstance(outcome, misuse)
