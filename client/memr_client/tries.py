"""`Tries`: how often and for how long one call is tried."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from numbers import Real
from random import SystemRandom
from typing import Any

import httpx

from memr_client.errors import InvalidRequest
from memr_client.responses import retry_after

TRANSIENT = frozenset({429, 502, 503, 504})
"""Statuses after which the same call may succeed later."""
FIRST_PAUSE_S = 0.25
LONGEST_CONNECT_S = 10.0
FIRST_CONNECT_S = 2.0
"""For the first of several tries, so that an address that does not respond is reported soon."""

LONGEST_S = 1_000_000.0
"""Sockets take no timeout much longer than this; a longer one is none to them."""

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
        how_long = f"for up to {self.remaining:.0f} s" if math.isfinite(self._ends) else "until it succeeds"
        return f"{how_long} (try {self.made}{tries})"

    def limits(self) -> httpx.Timeout:
        """The next try's timeouts. Connecting has a shorter one than the response."""
        remaining = self.remaining
        connect = FIRST_CONNECT_S if self.made == 1 and self._retries > 0 else LONGEST_CONNECT_S
        return httpx.Timeout(remaining if remaining < LONGEST_S else None, connect=min(remaining, connect))

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


def checked_seconds(seconds: Any, name: str, least: float | None = None) -> float:
    """Seconds that an argument gives; infinitely many are no limit.

    Args:
        name: the argument, for messages.
        least: the smallest number. Default: any number above 0.

    Raises:
        InvalidRequest: they are no such number.
    """
    limit = "a number of seconds above 0" if least is None else f"a number of seconds, at least {least:g}"
    return _checked(seconds, name, limit, lambda number: number > 0 if least is None else number >= least)


def checked_retries(retries: Any) -> float:
    """A number of further tries; infinitely many are no limit.

    Raises:
        InvalidRequest: it is no whole number, or negative.
    """
    limit = "a whole number, at least 0"
    return _checked(retries, "retries", limit, lambda number: number >= 0 and number in (math.inf, number // 1))


def _checked(given: Any, name: str, limit: str, fits: Callable[[float], bool]) -> float:
    if isinstance(given, Real) and not isinstance(given, bool):
        try:
            number = float(given)
        except OverflowError:
            number, shown = math.nan, "too large"
        else:
            shown = f"{number:g}"
        if fits(number):
            return number
    else:
        shown = repr(given)[:80] if given is None or isinstance(given, str | bool) else f"a {type(given).__name__}"
    raise InvalidRequest(
        f"{name} is {shown}, but must be {limit}.",
        value=shown,
        limit=limit,
        remedy=f"Leave {name} out for the default, or pass float('inf') for no limit.",
    )


def _is_transient(result: httpx.Response | httpx.RequestError) -> bool:
    if isinstance(result, httpx.Response):
        return result.status_code in TRANSIENT
    misuse = (httpx.UnsupportedProtocol, httpx.LocalProtocolError)
    return isinstance(result, httpx.TransportError) and not isinstance(result, misuse)
