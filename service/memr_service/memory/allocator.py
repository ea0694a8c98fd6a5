"""What a process has freed, given back to the system."""

from __future__ import annotations

import ctypes
import sys


def give_back() -> None:
    """Return free memory to the system, which glibc's allocator would keep (malloc_trim(3)); elsewhere do nothing.

    While a snapshot is saved, blocks that are written to are copied; the old ones lie scattered once they are free.
    """
    if sys.platform == "linux" and (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)) is not None:
        trim(0)
