"""Snapshots of runs under a data directory.

They save time: what they hold follows from the journal, so a damaged one is passed over. Only the snapshot where a
bounded journal begins replaces records that were dropped.
"""

from __future__ import annotations

import logging
import os
import re
import threading
from pathlib import Path

from memr_service.store import arrays
from memr_service.store.base import Snapshot
from memr_service.store.private import private_folder
from memr_service.store.sqlite.database import translated
from memr_service.store.sqlite.run_folders import RunFolders

logger = logging.getLogger("memr.store")

KEPT = 2


class SqliteSnapshots:
    """The snapshots ROOT/<uid>/<branch>-<position>.state (`arrays`). Methods may be called from any thread.

    `bases` holds, for the uid of each run, the position where its journal begins.
    """

    def __init__(self, root: Path, bases: dict[int, int]) -> None:
        self._root = root
        self._folders = RunFolders(root, bases)
        self._bases = bases
        self._lock = threading.Lock()
        self._deleted: set[int] = set()

    def save(self, uid: int, snapshot: Snapshot) -> None:
        """Keep a snapshot, and remove those that are not kept any more. A crash at any moment leaves whole files only.

        Raises:
            StoreFull: no room. Unavailable: it cannot be written.
        """
        name = f"{snapshot.branch}-{snapshot.position}.state"
        temporary = self._root / f"{uid}-{name}.tmp"
        with translated(self._root):
            private_folder(self._root)
            try:
                with temporary.open("w+b") as file:
                    arrays.write(file, snapshot.arrays)
                    os.fsync(file.fileno())
                with self._lock:  # the run may have been deleted meanwhile
                    if uid not in self._deleted:
                        self._place(uid, temporary, name)
            finally:
                temporary.unlink(missing_ok=True)

    def kept(self, uid: int) -> list[tuple[int, int]]:
        """(branch, position) of the snapshots kept, newest first."""
        folder = self._folders.of(uid)
        found = [re.fullmatch(r"(\d+)-(\d+)\.state", name) for name in (os.listdir(folder) if folder.is_dir() else [])]
        return sorted(((int(name[1]), int(name[2])) for name in found if name), reverse=True)

    def load(self, uid: int, branch: int, position: int) -> Snapshot | None:
        """A snapshot, or None if it is damaged (then it is removed, as it will never be of use) or unreadable."""
        path = self._folders.of(uid) / f"{branch}-{position}.state"
        try:
            with path.open("rb") as file:
                return Snapshot(branch, position, arrays.read(file))
        except ValueError as error:
            logger.warning("the snapshot %s is damaged and will not be used: %s", path, error)
            path.unlink(missing_ok=True)
        except OSError as error:
            logger.warning("the snapshot %s cannot be read: %s", path, error)
        return None

    def rebase(self, uid: int, position: int) -> None:
        """Keep the snapshot at `position`, where a run's journal begins from now on, and none for an earlier one."""
        self._bases[uid] = position

    def discard(self, uid: int) -> None:
        """Remove the snapshots of a run that could not be restored."""
        with self._lock:
            self._folders.delete(uid)

    def delete(self, uid: int) -> None:
        """Remove the snapshots of a run, and keep none that is still being written."""
        with self._lock:
            self._deleted.add(uid)
            self._folders.delete(uid)

    def _place(self, uid: int, temporary: Path, name: str) -> None:
        """Give a file its name, durably, and remove the snapshots that are not kept any more."""
        folder = self._folders.of(uid)
        private_folder(folder)
        temporary.rename(folder / name)
        directory = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
        for branch, position in self.kept(uid)[KEPT:]:
            if position == 0 or position != self._bases.get(uid):
                (folder / f"{branch}-{position}.state").unlink()
