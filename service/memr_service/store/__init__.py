"""Where records are made durable.

capabilities.py    what a store can do, one protocol for each capability
base.py            what a store keeps
address.py         a store's URL as it may be shown
sqlite/            one process, a data directory or memory
redis/             any number of processes over one Redis or Valkey
texts.py           prompts and completions for people to read: a side store that may forget
lineage.py         which records, on which branches, led to a position
arrays.py          named arrays as one file
"""

from __future__ import annotations

from pathlib import Path

from memr_client.errors import InvalidRequest

from memr_service.store.address import shown
from memr_service.store.capabilities import Store
from memr_service.store.sqlite import SqliteStore

FORMS = "sqlite:///relative/dir, sqlite:////absolute/dir or memory:"


def open_store(url: str, response_hours: float = 48) -> Store:
    """Open the store at `url`; responses to request ids are kept for `response_hours`.

    open_store("sqlite:///memr-data")      # a directory below the current one
    open_store("sqlite:////var/lib/memr")  # an absolute one
    open_store("sqlite:///~/memr-data")    # one in the home directory
    open_store("memory:")                  # nothing outlives the process
    open_store("redis://host:6379/0")      # shared with other processes; `memr_service.store.redis` has all forms

    Raises:
        InvalidRequest: the URL has none of these forms, or redis is not installed.
        StoreFull, Unavailable: the store cannot be used.
    """
    kind, _, path = url.partition(":///")
    if url == "memory:":
        return SqliteStore(None, response_hours)
    if kind == "sqlite" and path:
        return SqliteStore(_folder(path), response_hours)
    if is_redis(url):
        return _redis(url, response_hours)
    folder = "" if not url or ":" in url or url == "memory" else f"For the folder {url}: sqlite:///{url}."
    raise InvalidRequest(
        f"the store {shown(url)!r} has no form that memr knows.",
        value=shown(url),
        limit=f"{FORMS}, or redis://host:6379/0",
        remedy=folder or f"Give one of: {FORMS}; or redis://host:6379/0.",
    )


def is_redis(url: str) -> bool:
    """Whether a store's address is of a Redis, which needs the extra `redis`."""
    return url.startswith(("redis:", "rediss:", "redis+", "rediss+"))


def _folder(path: str) -> Path:
    try:
        return Path(path).expanduser()
    except RuntimeError as error:  # ~ stands for nobody's home
        raise InvalidRequest(
            f"the store's folder {path} cannot be found ({error}).", value=path, remedy="Give the folder without ~."
        ) from None


def _redis(url: str, response_hours: float) -> Store:
    try:
        from memr_service.store.redis import RedisStore
    except ModuleNotFoundError as error:
        raise InvalidRequest(
            "the library redis is not installed.", value=error.name, remedy="pip install '.[redis]' in a clone of memr"
        ) from error
    return RedisStore(url, response_hours)
