"""Versions of the libraries that affect rewards."""

from __future__ import annotations

import contextlib
import platform
from importlib import metadata

LIBRARIES = ("numpy", "hnswlib", "torch", "sentence-transformers", "transformers", "fastapi", "pydantic")


def library_versions() -> dict[str, str]:
    """Versions of Python and of the installed libraries that affect rewards."""
    found = {"python": platform.python_version()}
    for name in LIBRARIES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found
