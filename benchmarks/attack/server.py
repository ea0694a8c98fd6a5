"""The server that is attacked: `memr serve` with the hashed encoder, SQLite in a temporary folder, and no keys."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psutil
from memr_client import RewardClient
from support.serving import free_port

SAMPLE_S = 0.05
"""Seconds between two measurements of memory."""
MIB = 1 << 20


class Memory:
    """Resident memory of a process and its children, in MiB, measured all the time in a thread.

    A child that has not begun its own program yet is a copy of its parent and shares its memory, which counts once.
    """

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)
        self._program = self._process.cmdline()
        self._peak = 0.0
        self._stopped = threading.Event()
        threading.Thread(target=self._watch, daemon=True).start()

    def now(self) -> float:
        """Resident memory at this moment."""
        total = 0
        for process in (self._process, *self._process.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):
                if process == self._process or process.cmdline() != self._program:
                    total += process.memory_info().rss
        return total / MIB

    def peak(self) -> float:
        """The most since the last call."""
        peak, self._peak = max(self._peak, self.now()), 0.0
        return peak

    def stop(self) -> None:
        """End the measurement."""
        self._stopped.set()

    def _watch(self) -> None:
        while not self._stopped.wait(SAMPLE_S):
            with suppress(psutil.NoSuchProcess):
                self._peak = max(self._peak, self.now())


@contextmanager
def attacked() -> Iterator[tuple[str, Memory]]:
    """The server's URL and its memory."""
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        options = ["--port", str(port), "--encoder", "hashed", "--store", f"sqlite:///{folder}/data"]
        command = [sys.executable, "-m", "memr_service", "serve", *options]
        with subprocess.Popen(command, stderr=subprocess.DEVNULL, env=os.environ | {"TMPDIR": folder}) as process:
            memory = Memory(process.pid)
            try:
                url = f"http://127.0.0.1:{port}"
                with RewardClient(url) as client:
                    client.wait(60)
                yield url, memory
            finally:
                memory.stop()
                process.terminate()
                try:
                    process.wait(30)
                except subprocess.TimeoutExpired:
                    process.kill()
