"""Graphs in Redis: building one takes minutes, and who opens a run need not do it again."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Set
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path

from memr_service.store.redis.blobs import Blobs
from memr_service.store.redis.server import Server


class IndexFiles:
    """The files of all graphs on a server, and copies of them on this machine. Safe to call from several threads."""

    def __init__(self, server: Server) -> None:
        self._pieces = Blobs(server, "graph")

    def file(self, uid: int, name: str) -> Path:
        """Where a file belongs on this machine; it and those of its stem have been fetched, if there are any."""
        place = self._folder / str(uid)
        place.mkdir(exist_ok=True)
        if not (place / name).exists():
            for found in self._pieces.names(uid):
                if Path(found).stem == Path(name).stem:
                    with (place / found).open("wb") as file:
                        self._pieces.get(uid, found, file)
        return place / name

    def keep(self, uid: int, file: Path) -> None:
        """Let others have a file and those of its stem, unless somebody has done so: every process builds the same."""
        if file.name in self._pieces.names(uid):
            return
        with ExitStack() as opened:
            files = {one.name: opened.enter_context(one.open("rb")) for one in file.parent.glob(f"{file.stem}.*")}
            self._pieces.put(uid, files)

    def sweep(self, uid: int, used: Set[str]) -> None:
        """Remove all but those whose stem is used."""
        self._pieces.discard(uid, *(name for name in self._pieces.names(uid) if Path(name).stem not in used))
        for old in (self._folder / str(uid)).glob("*"):
            if old.stem not in used:
                old.unlink(missing_ok=True)

    def size(self, uid: int) -> int:
        """Bytes of a run's graphs, about."""
        return self._pieces.size(uid)

    def delete(self, uid: int) -> None:
        """Remove all of a run's."""
        self._pieces.discard(uid, *self._pieces.names(uid))

    def close(self) -> None:
        """Remove the copies on this machine."""
        if "_folder" in vars(self):
            shutil.rmtree(self._folder, ignore_errors=True)

    @cached_property
    def _folder(self) -> Path:
        return Path(tempfile.mkdtemp(prefix="memr-"))
