"""Files of vector indexes under a data directory."""

from __future__ import annotations

from collections.abc import Callable, Collection, Set
from pathlib import Path

from memr_service.store.private import private_folder
from memr_service.store.sqlite.database import translated
from memr_service.store.sqlite.run_folders import RunFolders


class SqliteIndexFiles:
    """The index files ROOT/<uid>/<name>. Methods may be called from any thread."""

    def __init__(self, root: Path, uids: Collection[int]) -> None:
        self._folders = RunFolders(root, uids)

    def find(self, uid: int, name: str) -> Path:
        """Where the file of that name is; nothing is there if it was never saved."""
        return self._folders.of(uid) / name

    def save(self, uid: int, name: str, write: Callable[[Path], None]) -> None:
        """Have `write` write the file, and others of the same stem beside it."""
        file = self.find(uid, name)
        with translated(self._folders.root):
            private_folder(self._folders.root)
            private_folder(file.parent)
        write(file)

    def sweep(self, uid: int, used: Set[str]) -> None:
        """Remove a run's files but those whose stem is in `used`."""
        for file in self._folders.of(uid).glob("*"):
            if file.stem not in used:
                file.unlink(missing_ok=True)

    def delete(self, uid: int) -> None:
        """Remove all of a run's files."""
        self._folders.delete(uid)
