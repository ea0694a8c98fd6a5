"""Files of vector indexes in Redis, so that a process that opens a run need not build them again."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Set
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path

from memr_service.store.redis.blobs import Blobs
from memr_service.store.redis.server import Server


class RedisIndexFiles:
    """The index files on a server, and copies of them on this machine. Methods may be called from any thread."""

    def __init__(self, server: Server) -> None:
        self._blobs = Blobs(server, "graph")

    def find(self, uid: int, name: str) -> Path:
        """Where the file of that name is on this machine; it and those of its stem are fetched if they exist."""
        file = self._file(uid, name)
        if not file.exists():
            for found in self._blobs.names(uid):
                if Path(found).stem == file.stem:
                    with file.with_name(found).open("wb") as copy:
                        self._blobs.get(uid, found, copy)
        return file

    def save(self, uid: int, name: str, write: Callable[[Path], None]) -> None:
        """Have `write` write the file, and others of the same stem beside it, and put them on the server.

        Nothing is put there if another process has done so: every process builds the same file.
        """
        file = self._file(uid, name)
        write(file)
        if name in self._blobs.names(uid):
            return
        with ExitStack() as opened:
            files = {one.name: opened.enter_context(one.open("rb")) for one in file.parent.glob(f"{file.stem}.*")}
            self._blobs.put(uid, files)

    def sweep(self, uid: int, used: Set[str]) -> None:
        """Remove a run's files but those whose stem is in `used`."""
        self._blobs.discard(uid, *(name for name in self._blobs.names(uid) if Path(name).stem not in used))
        for file in (self._folder / str(uid)).glob("*"):
            if file.stem not in used:
                file.unlink(missing_ok=True)

    def size(self, uid: int) -> int:
        """Bytes of a run's index files, about."""
        return self._blobs.size(uid)

    def delete(self, uid: int) -> None:
        """Remove all index files of a run."""
        self._blobs.delete(uid)

    def close(self) -> None:
        """Remove the copies on this machine."""
        if "_folder" in vars(self):
            shutil.rmtree(self._folder, ignore_errors=True)

    def _file(self, uid: int, name: str) -> Path:
        folder = self._folder / str(uid)
        folder.mkdir(exist_ok=True)
        return folder / name

    @cached_property
    def _folder(self) -> Path:
        return Path(tempfile.mkdtemp(prefix="memr-"))
