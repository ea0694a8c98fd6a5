"""What runs keep beside the database: snapshots of their state, and their index files.

    snapshots/<uid>/<branch>-<position>.state    arrays (`arrays`)
    index/<uid>/<name>

They save time: what they hold follows from the journal, so a damaged one is passed over. Only the snapshot where a
bounded journal begins stands for records that are gone.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import threading
from collections.abc import Set
from pathlib import Path

from memr_service.store import arrays
from memr_service.store.base import Snapshot
from memr_service.store.database import translated

logger = logging.getLogger("memr.store")

KEPT = 2


class RunFiles:
    """Snapshots and index files under a data directory. Safe to call from several threads.

    `bases` holds, for the uids of the runs there are, the position where each journal begins. The snapshot taken there
    is kept beside the newest. Files of other runs (a crash came between) are removed.
    """

    def __init__(self, root: Path, bases: dict[int, int]) -> None:
        self.bases = bases
        self._snapshots = root / "snapshots"
        self._index = root / "index"
        self._lock = threading.Lock()
        self._deleted: set[int] = set()
        with translated(root):
            for place in (self._snapshots, self._index):
                for entry in list(place.iterdir()) if place.is_dir() else []:
                    if entry.suffix == ".tmp":
                        entry.unlink()
                    elif entry.name not in map(str, bases):
                        shutil.rmtree(entry, ignore_errors=True)

    def sweep_indices(self, uid: int, used: Set[str]) -> None:
        """Remove the files of a run's indices but those whose stem is used."""
        for old in (self._index / str(uid)).glob("*"):
            if old.stem not in used:
                old.unlink(missing_ok=True)

    def index_file(self, uid: int, name: str) -> Path:
        """Where the index of that name belongs; its directory exists."""
        with translated(self._index):
            (self._index / str(uid)).mkdir(parents=True, exist_ok=True)
        return self._index / str(uid) / name

    def save(self, uid: int, snapshot: Snapshot) -> None:
        """Keep a snapshot and the one before it; a crash at any moment leaves whole files only.

        Raises:
            StoreFull: no room. Unavailable: cannot be written.
        """
        name = f"{snapshot.branch}-{snapshot.position}.state"
        temporary = self._snapshots / f"{uid}-{name}.tmp"
        with translated(self._snapshots):
            self._snapshots.mkdir(parents=True, exist_ok=True)
            try:
                with temporary.open("w+b") as file:
                    arrays.write(file, snapshot.arrays)
                    os.fsync(file.fileno())
                with self._lock:  # the run may have been deleted meanwhile
                    if uid not in self._deleted:
                        self._place(temporary, self._snapshots / str(uid) / name)
            finally:
                temporary.unlink(missing_ok=True)

    def _place(self, temporary: Path, final: Path) -> None:
        final.parent.mkdir(exist_ok=True)
        temporary.rename(final)
        directory = os.open(final.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
        uid = int(final.parent.name)
        for branch, position in self.kept(uid)[KEPT:]:
            if position == 0 or position != self.bases.get(uid):
                (final.parent / f"{branch}-{position}.state").unlink()

    def kept(self, uid: int) -> list[tuple[int, int]]:
        """(branch, position) of a run's snapshots, newest first."""
        place = self._snapshots / str(uid)
        names = [re.fullmatch(r"(\d+)-(\d+)\.state", name) for name in (os.listdir(place) if place.is_dir() else [])]
        return sorted(((int(name[1]), int(name[2])) for name in names if name), reverse=True)

    def load(self, uid: int, branch: int, position: int) -> Snapshot | None:
        """A snapshot, or None when it is damaged (then it is removed, as it will never be of use) or unreadable."""
        path = self._snapshots / str(uid) / f"{branch}-{position}.state"
        try:
            with path.open("rb") as file:
                return Snapshot(branch, position, arrays.read(file))
        except ValueError as error:
            logger.warning("the snapshot %s is damaged and will not be used: %s", path, error)
            path.unlink(missing_ok=True)
        except OSError as error:
            logger.warning("the snapshot %s cannot be read: %s", path, error)
        return None

    def discard(self, uid: int) -> None:
        """Remove the files of a run that did not come to be."""
        with self._lock:
            shutil.rmtree(self._snapshots / str(uid), ignore_errors=True)

    def delete(self, uid: int) -> None:
        """Remove all files of a run (what cannot be removed now is at the next start)."""
        with self._lock:
            self._deleted.add(uid)
            for place in (self._snapshots, self._index):
                shutil.rmtree(place / str(uid), ignore_errors=True)
