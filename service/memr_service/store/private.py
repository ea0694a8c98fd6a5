"""Files and folders that only the server's user can read: they hold prompts and completions."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

OTHERS = 0o007
"""Permissions of users who are neither the owner nor in the file's group."""


def private_folder(path: Path) -> None:
    """Create a folder (0700), and its parents as usual, if it does not exist."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)


def private_database(path: Path) -> None:
    """Create an empty SQLite file (0600), or take away what other users may do with an existing one.

    SQLite gives its further files the permissions of the database. A group that was let in stays.
    """
    if not path.exists():
        path.touch(mode=0o600)
    for file in (path, *(path.with_name(path.name + suffix) for suffix in ("-wal", "-shm"))):
        close_to_others(file)


def close_to_others(path: Path) -> None:
    """Take away what other users may do with a file or folder. A group that was let in stays."""
    with suppress(OSError):  # it does not exist, or belongs to another user
        if (mode := path.stat().st_mode & 0o777) & OTHERS:
            os.chmod(path, mode & ~OTHERS)
