"""What a process has freed: kept from one request to the next, and given back when there is much of it."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""As in glibc's malloc.h."""
KEPT = 64 << 20
"""Free bytes at the end of a heap that stay there."""
LARGEST = 32 << 20
"""Arrays of at most so many bytes are taken from a heap; glibc takes no more than this."""


def keep() -> None:
    """Have glibc's allocator keep what is freed for the next request's arrays (mallopt(3)); elsewhere do nothing.

    By itself it gives them back after each request, and the system zeroes each page of them anew for the next: in a
    request of 64 completions 300 pages, and a tenth of its time.
    """
    if (tune := _glibc("mallopt")) is not None:
        tune(M_TRIM_THRESHOLD, KEPT)
        tune(M_MMAP_THRESHOLD, LARGEST)


def give_back() -> None:
    """Return free memory to the system, which glibc's allocator would keep (malloc_trim(3)); elsewhere do nothing.

    While a snapshot is saved, blocks that are written to are copied; the old ones lie scattered once they are free.
    """
    if (trim := _glibc("malloc_trim")) is not None:
        trim(0)


def _glibc(name: str) -> Callable[..., int] | None:
    """A function of glibc's allocator, where that is the system's."""
    return getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None
