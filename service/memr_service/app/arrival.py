"""A request's body as it arrives, within a time that grows with what has arrived."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

import anyio
from memr_client.errors import TooSlow
from starlette.requests import Request

SLOWEST = 1 << 16
"""Bytes a second that are not too slow, however large the body is."""


async def arriving(request: Request, seconds: float) -> AsyncIterator[bytes]:
    """The pieces of the body. Only the waiting for the caller counts, not what is done with a piece meanwhile.

    Args:
        seconds: to wait for the body in all, and one more for each `SLOWEST` bytes.

    Raises:
        TooSlow: the body did not arrive in time. ClientDisconnect: the caller left.
    """
    pieces = request.stream()
    left, size = seconds, 0
    while True:
        began = time.monotonic()
        piece = None
        with anyio.move_on_after(max(left, 0)):
            piece = await anext(pieces, b"")
        if piece is None:
            raise too_slow(size, seconds)
        if not piece:
            return
        size += len(piece)
        left += len(piece) / SLOWEST - (time.monotonic() - began)
        yield piece


def too_slow(size: int, seconds: float) -> TooSlow:
    """The refusal of a body of which so many bytes have arrived."""
    return TooSlow(
        f"After {size} bytes the rest of the body did not arrive in time.",
        value=size,
        limit=f"{seconds:g} s, and one more for each {SLOWEST} bytes",
        remedy="Use a faster connection, send less at once, or raise MEMR_BODY_S on the server.",
    )
