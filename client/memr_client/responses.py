"""Reading responses that report a failure: the error, and how long to wait."""

from __future__ import annotations

from contextlib import suppress
from email.utils import parsedate_to_datetime
from time import time

import httpx

from memr_client.address import without_password
from memr_client.errors import BadResponse, MemrError, from_document

PROBLEM = "application/problem+json"
LONGEST_WAIT_S = 86_400.0
"""A service that asks for more is not waited for longer."""


def error_from(response: httpx.Response, proxy: object = None) -> MemrError:
    """The error that an unsuccessful response, which came through `proxy`, reports."""
    if response.headers.get("content-type", "").startswith(PROBLEM):
        with suppress(ValueError, AttributeError, BadResponse):  # a problem document of another service
            return from_document(response.json(), round(retry_after(response)) or None)
    return BadResponse(not_from_memr(response, proxy))


def retry_after(response: httpx.Response) -> float:
    """Seconds to wait according to the `Retry-After` header; 0 without the header."""
    header = response.headers.get("retry-after", "")
    try:
        seconds = float(header) if header.isdecimal() else parsedate_to_datetime(header).timestamp() - time()
    except (ValueError, OverflowError):
        return 0.0
    return min(max(0.0, seconds), LONGEST_WAIT_S)


def not_from_memr(response: httpx.Response, proxy: object = None) -> str:
    """The message of `BadResponse`: what came back, with the first 200 bytes of its body."""
    start = response.content[:200].decode("utf-8", "replace")
    url = without_password(str(response.request.url))
    return (
        f"{response.request.method} {url} returned status {response.status_code} and a body that is not from memr: "
        f"{start!r}. Check the address, {proxy or 'any proxy'}, and that client and service have the same version."
    )
