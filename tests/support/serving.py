"""A server of its own process for a test: `memr serve`, as a user starts it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from memr_client import RewardClient


@contextmanager
def serving(*options: str, api_key: str | None = None, port: int | None = None, **environment: str) -> Iterator[str]:
    """Serve on a free port, with the encoder that needs no model and a store that is forgotten; gives the url.

    with serving("--store", "sqlite:///somewhere", MEMR_MAX_ITEMS="10") as url: ...

    Its log goes nowhere: a pipe that nobody reads would be full after some hundred requests, and stop the server.
    """
    port = port or free_port()
    command = [sys.executable, "-m", "memr_service", "serve", "--port", str(port), "--encoder", "hashed"]
    store = [] if "--store" in options else ["--store", "memory:"]
    with subprocess.Popen(
        [*command, *store, *options], env=os.environ | environment, stderr=subprocess.DEVNULL
    ) as server:
        try:
            url = f"http://127.0.0.1:{port}"
            with RewardClient(url, api_key=api_key) as client:
                client.wait(30)
            yield url
        finally:
            server.terminate()
            server.wait(timeout=30)


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
