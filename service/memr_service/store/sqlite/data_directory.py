"""The data directory: created if it does not exist, and owned by one process at a time."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout
from memr_client.errors import Unavailable

from memr_service.store.private import private_folder


class DataDirectory:
    """A directory that belongs to this object alone until `close`, or until the process ends for any reason.

    The operating system locks the open file, so a process that was killed leaves no lock behind.

    Raises:
        Unavailable: the directory has another owner, or it cannot be created or written to.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._owner = path / "owner"
        # Not thread-local: the thread that closes a store need not be the one that opened it.
        self._lock = FileLock(path / "lock", thread_local=False)
        try:
            private_folder(path)
            self._lock.acquire(blocking=False)
            self._owner.write_text(f"{os.getpid()} {socket.gethostname()}")
        except Timeout:
            raise self._in_use() from None
        except OSError as error:
            self._lock.release()
            raise Unavailable(
                f"the data directory {path} cannot be written to ({error}).",
                value=str(path),
                remedy="Make it writable for this user, or give another one with --store sqlite:///DIR.",
            ) from error

    def close(self) -> None:
        """Give the directory up."""
        self._lock.release()

    def size(self) -> int:
        """Bytes of all files in it, without the reserve."""
        total = 0
        for file in self.path.rglob("*"):
            with suppress(FileNotFoundError):  # a temporary file may have been renamed meanwhile
                total += file.stat().st_size if file.is_file() and file.name != "reserve" else 0
        return total

    def _in_use(self) -> Unavailable:
        try:
            pid, _, host = self._owner.read_text().partition(" ")
        except OSError:
            pid, host = "unknown", "unknown"
        here = pid == str(os.getpid()) and host == socket.gethostname()
        return Unavailable(
            f"the data directory {self.path} is in use by {'this' if here else 'another'} process"
            f" (pid {pid} on host {host}).",
            value=str(self.path),
            limit="one owner at a time",
            remedy=("Close the first store" if here else f"Stop process {pid}")
            + ", or give another directory with --store sqlite:///DIR.",
        )
