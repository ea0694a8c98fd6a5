"""Where the servers of a bench keep their runs: in a folder, or in a Redis that writes every commit to its disk."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from support.redis_server import RedisServer

STORES = ("embedded", "redis")


@dataclass(frozen=True)
class Place:
    """A store of its own."""

    url: str
    redis: RedisServer | None = None

    def processor_s(self) -> float:
        """Processor time that the store has taken beside the servers that use it."""
        if self.redis is None:
            return 0.0
        with self.redis.client() as asked:
            told = asked.info("cpu")
        return float(told["used_cpu_user"] + told["used_cpu_sys"])


@contextmanager
def place(store: str) -> Iterator[Place]:
    """An empty store of a kind of `STORES`, until the block ends."""
    if store == "redis":
        with RedisServer("--appendonly", "yes", "--appendfsync", "always") as redis:
            yield Place(redis.url, redis)
    else:
        with tempfile.TemporaryDirectory() as folder:
            yield Place(f"sqlite:///{folder}/data")
