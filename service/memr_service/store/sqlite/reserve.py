"""Disk space that is kept for the moment when there is none left: deleting a run has to write before it frees."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

RESERVE_BYTES = 4 << 20
"""Enough to delete a run of some 500 MB; its pages are not written when they are freed, only the lists of them."""


class Reserve:
    """A file of `RESERVE_BYTES` that is given up for the time of `used`, and is taken again afterwards.

    If there is no room for it, there is none: it is taken at the next start or after the next use.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._take()

    @contextmanager
    def used(self) -> Iterator[None]:
        """Give the space up for what is done inside."""
        self._file.unlink(missing_ok=True)
        try:
            yield
        finally:
            self._take()

    def _take(self) -> None:
        if self._file.exists() and self._file.stat().st_size == RESERVE_BYTES:
            return
        try:
            with self._file.open("wb") as file:
                file.write(bytes(RESERVE_BYTES))
        except OSError:
            with suppress(OSError):
                self._file.unlink(missing_ok=True)
