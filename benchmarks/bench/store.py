"""The stores of a benchmark's servers: a folder, or a Redis that writes every commit to its disk."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from support.redis_server import RedisServer

STORES = ("embedded", "redis")


@dataclass(frozen=True)
class BenchStore:
    """A store for one server."""

    url: str
    redis: RedisServer | None = None

    def processor_s(self) -> float:
        """Processor time of the store outside the servers' processes."""
        if self.redis is None:
            return 0.0
        with self.redis.client() as client:
            used = client.info("cpu")
        return float(used["used_cpu_user"] + used["used_cpu_sys"])


@contextmanager
def empty_store(kind: str) -> Iterator[BenchStore]:
    """An empty store of this kind, for the duration of the context."""
    if kind == "redis":
        with RedisServer("--appendonly", "yes", "--appendfsync", "always") as redis:
            yield BenchStore(redis.url, redis)
    else:
        with tempfile.TemporaryDirectory() as folder:
            yield BenchStore(f"sqlite:///{folder}/data")
