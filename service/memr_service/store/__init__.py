"""Where records are made durable."""

from __future__ import annotations

from pathlib import Path

from memr_client.errors import InvalidRequest

from memr_service.store.base import Store
from memr_service.store.sqlite import SqliteStore

FORMS = "sqlite:///relative/dir, sqlite:////absolute/dir or memory:"


def open_store(url: str, answer_hours: float = 48) -> Store:
    """The store at `url`; answers to request ids are kept for `answer_hours`.

    open_store("sqlite:///memr-data")      # a directory below the current one
    open_store("sqlite:////var/lib/memr")  # an absolute one
    open_store("memory:")                  # nothing outlives the process

    Raises:
        InvalidRequest: not one of these forms. StoreFull, Unavailable: the directory cannot be used.
    """
    kind, _, path = url.partition(":///")
    if url == "memory:":
        return SqliteStore(None, answer_hours)
    if kind == "sqlite" and path:
        return SqliteStore(Path(path), answer_hours)
    raise InvalidRequest(
        f"the store {url!r} is none that memr knows.", value=url, limit=FORMS, remedy=f"Give one of: {FORMS}."
    )
