"""A folder of files for each run."""

from __future__ import annotations

import shutil
from collections.abc import Collection
from pathlib import Path

from memr_service.store.private import close_to_others
from memr_service.store.sqlite.database import translated


class RunFolders:
    """The folders ROOT/<uid>. Those of other runs than `uids`, and temporary files, are what a crash left: removed."""

    def __init__(self, root: Path, uids: Collection[int]) -> None:
        self.root = root
        close_to_others(root)
        with translated(root):
            for entry in list(root.iterdir()) if root.is_dir() else []:
                if entry.suffix == ".tmp":
                    entry.unlink()
                elif entry.name not in map(str, uids):
                    shutil.rmtree(entry, ignore_errors=True)

    def of(self, uid: int) -> Path:
        """A run's folder, whether or not it exists."""
        return self.root / str(uid)

    def delete(self, uid: int) -> None:
        """Remove a run's folder. Files that cannot be removed now are removed at the next start."""
        shutil.rmtree(self.of(uid), ignore_errors=True)
