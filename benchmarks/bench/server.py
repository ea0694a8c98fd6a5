"""A `memr serve` process, started as a user does, and its use of processor and memory."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import httpx
from memr_client import RewardClient
from support.serving import free_port

from benchmarks.bench.store import BenchStore

CORE = (os.cpu_count() or 1) - 1
"""The core that a server is pinned to if its processor time is compared."""
STOP_S = 300


@dataclass(frozen=True)
class Server:
    """A running server."""

    url: str
    pid: int
    store: BenchStore

    def client(self, run: str) -> RewardClient:
        """A client for one of the server's runs."""
        return RewardClient(self.url, run=run, timeout=600)

    def processor_s(self) -> float:
        """Processor time of all threads so far, in steps of 10 ms, including that of a separate store."""
        return self._metric("process_cpu_seconds_total") + self.store.processor_s()

    def resident(self) -> float:
        """Resident bytes."""
        return self._metric("process_resident_memory_bytes")

    def _metric(self, name: str) -> float:
        found = re.search(rf"^{name} (\S+)", httpx.get(f"{self.url}/metrics").text, re.MULTILINE)
        assert found is not None
        return float(found[1])


@contextmanager
def server(store: BenchStore, encoder: str = "hashed", *, pinned: bool = False) -> Iterator[Server]:
    """Serve a store for the duration of the context, on one core if `pinned`."""
    port = free_port()
    command = [sys.executable, "-m", "memr_service", "serve", "--port", str(port), "--encoder", encoder]
    command += ["--store", store.url]
    before = os.sched_getaffinity(0)
    if pinned:
        os.sched_setaffinity(0, {CORE})  # a child inherits it, before its libraries count cores
    try:
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    finally:
        os.sched_setaffinity(0, before)
    with process:
        try:
            url = f"http://127.0.0.1:{port}"
            with RewardClient(url) as client:
                client.wait(120)
            yield Server(url, process.pid, store)
        finally:
            process.terminate()
            process.wait(STOP_S)
