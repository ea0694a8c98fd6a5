"""Logs: one access line per request; other lines carry the id of the request that they belong to.

They are JSON lines, and short lines for people where standard error is a terminal.

Logs contain neither texts nor API keys.
"""

from __future__ import annotations

import logging
import re
import secrets
import sys
from collections.abc import Set
from contextvars import ContextVar
from urllib.parse import parse_qsl, urlencode

from pythonjsonlogger.core import RESERVED_ATTRS
from pythonjsonlogger.json import JsonFormatter
from starlette.datastructures import Headers
from starlette.types import Scope

access = logging.getLogger("memr.access")
server = logging.getLogger("memr.server")

CURRENT: ContextVar[dict[str, str]] = ContextVar("current_request", default={})  # noqa: B039  (never modified)
"""Fields of the current request, which are added to every log line."""

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_TRACEPARENT = re.compile(r"[0-9a-f]{2}(-[0-9a-f]{2,32}){3}[0-9a-z-]{0,64}")
_LONGEST_PATH = 512


def configure(*, on_terminal: bool = False) -> None:
    """Write this process's logs to standard error. Called by a server, not by an embedded service."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Lines() if on_terminal else _json())
    handler.addFilter(_WithRequest())
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    logging.getLogger("memr").setLevel(logging.INFO)
    logging.getLogger("uvicorn").setLevel(logging.WARNING if on_terminal else logging.INFO)


def started(store: str, encoder: str, address: str) -> None:
    """Say where the runs are, what reads the texts, and where the server is reached."""
    server.info("serving at %s/", address, extra={"store": store, "encoder": encoder, "dashboard": f"{address}/"})


def _json() -> logging.Formatter:
    return JsonFormatter(
        "%(asctime)s %(levelname)s %(name)s %(message)s",
        rename_fields={"asctime": "time", "levelname": "level", "name": "logger"},
        reserved_attrs=[*RESERVED_ATTRS, "color_message"],  # uvicorn's message with colours
        json_ensure_ascii=False,
    )


class _Lines(logging.Formatter):
    """Lines for people: three at the start, then one per request; warnings and errors with their level."""

    def format(self, record: logging.LogRecord) -> str:
        fields = vars(record)
        if record.name == server.name:
            return "\n".join(f"{name:10} {fields[name]}" for name in ("store", "encoder", "dashboard"))
        if record.name == access.name:
            parts = [self.formatTime(record, "%H:%M:%S"), *(fields[name] for name in ("method", "path", "status"))]
            parts += [f"{fields['ms']:.1f} ms", *(fields[name] for name in ("run_id", "problem") if name in fields)]
            return "  ".join(map(str, parts))
        text = super().format(record)
        return text if record.levelno <= logging.INFO else f"{record.levelname.lower()}: {text}"


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


def path(scope: Scope, parameters: Set[str]) -> str:
    """Path and query for the log, cut to 512 characters.

    Args:
        parameters: whose values are shown. Others may be a key under a wrong name, or texts.
    """
    query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
    shown = [(name, value if name in parameters else "REDACTED") for name, value in query]
    whole = scope["path"] + ("?" + urlencode(shown, errors="replace") if shown else "")
    return str(whole[:_LONGEST_PATH])
