"""Run files on their way through this machine: in temporary files that have no name, so that none is left behind."""

from __future__ import annotations

import errno
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from memr_client.errors import Overloaded, StoreFull, TooLarge

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def temporary_file() -> Iterator[BinaryIO]:
    """A file for as long as the block lasts.

    Raises:
        StoreFull: there was no room for what was written into it.
    """
    try:
        with tempfile.TemporaryFile() as file:
            yield file
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        raise StoreFull(
            "There is no room for temporary files.",
            value=tempfile.gettempdir(),
            remedy="Free room there, or name another folder in TMPDIR on the server.",
        ) from error


class Spool:
    """How many bytes of uploaded files there are on this machine."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._held = 0

    @contextmanager
    def upload(self) -> Iterator[Upload]:
        """A new upload; its file is removed at the end of the block. `StoreFull` is raised as in `temporary_file`."""
        with temporary_file() as file:
            upload = Upload(self, file)
            try:
                yield upload
            finally:
                self._held -= upload.size

    def hold(self, size: int, more: int) -> None:
        """Count bytes that an upload of this size is about to write.

        Raises:
            TooLarge: the file is too large. Overloaded: it is too large beside those that are being uploaded.
        """
        if size + more > self._most:
            raise TooLarge(
                "The file has too many bytes.",
                value=f"more than {self._most}",
                limit=self._most,
                remedy="Raise MEMR_MAX_IMPORT_BYTES on the server.",
            )
        if self._held + more > self._most:
            raise Overloaded(
                "Other files that are being imported leave no room for this one.",
                value=f"more than {self._most} in all",
                limit=self._most,
                remedy="Try again when they are imported, or raise MEMR_MAX_IMPORT_BYTES on the server.",
                retry_after=10,
            )
        self._held += more


class Upload:
    """One file that is being uploaded."""

    def __init__(self, spool: Spool, file: BinaryIO) -> None:
        self._spool = spool
        self.file = file
        self.size = 0

    def write(self, piece: bytes) -> None:
        """Append a piece; see `Spool.hold` for the errors."""
        self._spool.hold(self.size, len(piece))
        self.size += len(piece)
        self.file.write(piece)
