"""A service process that can be killed, stopped and restarted."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from memr_client import RewardClient
from support.failing_store import FailingStore
from support.serving import free_port


class Replica(FailingStore):
    """`memr serve` over a store, on a free port. The constructor does not wait until it is ready.

    Args:
        log: file for its log; None discards it.
        environment: settings, as environment variables.
    """

    def __init__(self, store: str, log: Path | None = None, **environment: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._log = log or Path(os.devnull)
        command = [sys.executable, "-m", "memr_service", "serve", "--port", str(self.port), "--encoder", "hashed"]
        self._command = [*command, "--store", store]
        self._environment = os.environ | {"OMP_NUM_THREADS": "1", "MEMR_PRELOAD": "false"} | environment
        self.start()

    def start(self) -> None:
        """Start the process on the same port as before."""
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(self._command, env=self._environment, stderr=log, stdout=log)

    def wait(self, api_key: str | None = None) -> None:
        """Wait until the service is ready."""
        with RewardClient(self.url, api_key=api_key) as client:
            client.wait(60)

    def close(self) -> None:
        """Stop the service with SIGTERM."""
        self.thaw()
        self.process.terminate()
        self.process.wait(60)
