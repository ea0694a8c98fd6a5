"""The tests speak of Memory-R+ where they name no preset: the law is written for it, and so is the oracle in paper.py.

What a server does that is told nothing is another matter (`test_settings.py`, `test_readme.py`).
"""

from __future__ import annotations

import os


def pytest_configure() -> None:
    """Before any server of a test starts, in this process or another."""
    os.environ["MEMR_DEFAULT_PRESET"] = "memory-r+"
