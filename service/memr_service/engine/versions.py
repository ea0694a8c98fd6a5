"""Which libraries take part in a reward here."""

from __future__ import annotations

import contextlib
import platform
from importlib import metadata

LIBRARIES = ("numpy", "hnswlib", "torch", "sentence-transformers", "transformers", "fastapi", "pydantic")


def library_versions() -> dict[str, str]:
    """Python and the installed libraries that take part in a reward."""
    found = {"python": platform.python_version()}
    for name in LIBRARIES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found
