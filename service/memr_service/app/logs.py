"""JSON logs: one access line per request; other lines carry the id of the request that they belong to.

Logs contain neither texts nor API keys.
"""

from __future__ import annotations

import logging
import re
import secrets
import sys
from contextvars import ContextVar
from urllib.parse import parse_qsl, urlencode

from pythonjsonlogger.json import JsonFormatter
from starlette.datastructures import Headers
from starlette.types import Scope

access = logging.getLogger("memr.access")

CURRENT: ContextVar[dict[str, str]] = ContextVar("current_request", default={})  # noqa: B039  (never modified)
"""Fields of the current request, which are added to every log line."""

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_TRACEPARENT = re.compile(r"[0-9a-f]{2}(-[0-9a-f]{2,32}){3}[0-9a-z-]{0,64}")
_LONGEST_PATH = 512


def configure() -> None:
    """Write this process's logs to standard error as JSON lines. Called by a server, not by an embedded service."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        JsonFormatter(
            "%(asctime)s %(levelname)s %(name)s %(message)s",
            rename_fields={"asctime": "time", "levelname": "level", "name": "logger"},
            json_ensure_ascii=False,
        )
    )
    handler.addFilter(_WithRequest())
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    for name in ("memr", "uvicorn"):
        logging.getLogger(name).setLevel(logging.INFO)


class _WithRequest(logging.Filter):
    """Adds the current request's fields to a log line."""

    def filter(self, record: logging.LogRecord) -> bool:
        for name, value in CURRENT.get().items():
            if not hasattr(record, name):
                setattr(record, name, value)
        return True


def identify(headers: Headers) -> dict[str, str]:
    """The request's id and its W3C trace. A missing or malformed id is replaced by a new one."""
    given = headers.get("x-request-id", "")
    fields = {"request_id": given if _REQUEST_ID.fullmatch(given) else secrets.token_hex(16)}
    trace = headers.get("traceparent", "")
    if _TRACEPARENT.fullmatch(trace):
        fields["traceparent"] = trace
    return fields


def path(scope: Scope) -> str:
    """Path and query for the log: a `key` in the query is redacted, and the whole is cut to 512 characters."""
    query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
    shown = [(name, "REDACTED" if name.lower() == "key" else value) for name, value in query]
    whole = scope["path"] + ("?" + urlencode(shown, errors="replace") if shown else "")
    return str(whole[:_LONGEST_PATH])
