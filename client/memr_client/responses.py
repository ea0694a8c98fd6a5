"""Reading responses that report a failure: the error, and how long to wait."""

from __future__ import annotations

from email.utils import parsedate_to_datetime
from time import time

import httpx

from memr_client.errors import BadResponse, MemrError, from_document

PROBLEM = "application/problem+json"


def error_from(response: httpx.Response) -> MemrError:
    """The error that an unsuccessful response reports."""
    if response.headers.get("content-type", "").startswith(PROBLEM):
        try:
            return from_document(response.json(), round(retry_after(response)) or None)
        except (ValueError, AttributeError, BadResponse):
            pass  # a problem document of another service
    return BadResponse(not_from_memr(response))


def retry_after(response: httpx.Response) -> float:
    """Seconds to wait according to the `Retry-After` header; 0 without the header."""
    header = response.headers.get("retry-after", "")
    if header.isdecimal():
        return float(header)
    try:
        return max(0.0, parsedate_to_datetime(header).timestamp() - time())
    except ValueError:
        return 0.0


def not_from_memr(response: httpx.Response) -> str:
    """The message of `BadResponse`: what came back, with the first 200 bytes of its body."""
    start = response.content[:200].decode("utf-8", "replace")
    return (
        f"{response.request.method} {response.request.url} returned status {response.status_code} and a body that is "
        f"not from memr: {start!r}. Check the address, any proxy, and that client and service have the same version."
    )
