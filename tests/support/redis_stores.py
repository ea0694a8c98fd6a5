"""Redis stores, and small records to put in them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from memr_service.store import open_store
from memr_service.store.base import StoredRecord, StoredRun
from memr_service.store.redis import RedisStore

WHEN = "2025-11-21T08:00:00+00:00"


@contextmanager
def opened(url: str) -> Iterator[RedisStore]:
    store = open_store(url)
    assert isinstance(store, RedisStore)
    yield store
    store.close()


def make(store: RedisStore, name: str = "run") -> StoredRun:
    return store.runs.create(name, "{}", 1, None, WHEN)


def record(position: int, parent: str = "", chain: str = "", size: int = 1000) -> StoredRecord:
    return StoredRecord(0, position, bytes(size), b"columns", parent.encode(), chain.encode())
