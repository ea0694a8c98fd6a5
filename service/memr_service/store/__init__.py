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
    open_store("redis://host:6379/0")      # shared with other processes; `memr_service.store.redis` has all forms

    Raises:
        InvalidRequest: not one of these forms, or redis is not installed.
        StoreFull, Unavailable: the store cannot be used.
    """
    kind, _, path = url.partition(":///")
    if url == "memory:":
        return SqliteStore(None, answer_hours)
    if kind == "sqlite" and path:
        return SqliteStore(Path(path), answer_hours)
    if url.startswith(("redis:", "rediss:", "redis+", "rediss+")):
        return _redis(url, answer_hours)
    raise InvalidRequest(
        f"the store {url!r} is none that memr knows.",
        value=url,
        limit=f"{FORMS}, or redis://host:6379/0",
        remedy=f"Give one of: {FORMS}; or redis://host:6379/0.",
    )


def _redis(url: str, answer_hours: float) -> Store:
    try:
        from memr_service.store.redis import RedisStore
    except ModuleNotFoundError as error:
        raise InvalidRequest(
            "the library redis is not installed.", value=error.name, remedy="pip install 'memr[redis]'"
        ) from error
    return RedisStore(url, answer_hours)
