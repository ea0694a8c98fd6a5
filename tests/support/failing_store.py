"""A process that a test kills, or stops for a while."""

from __future__ import annotations

import signal
import subprocess


class FailingStore:
    """Whatever runs as `process`."""

    process: subprocess.Popen[bytes]

    def kill(self) -> None:
        """SIGKILL: it ends as by a power cut, but for what the system has in its buffers."""
        self.process.kill()
        self.process.wait()

    def freeze(self) -> None:
        """SIGSTOP: it does nothing any more, and its connections stay open."""
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT: it goes on."""
        self.process.send_signal(signal.SIGCONT)
