"""Settings of glibc's malloc: free memory is kept for the next request, and given back when there is a lot of it."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8
"""As in glibc's malloc.h."""
KEPT = 64 << 20
"""Free bytes at the end of a heap that are not given back."""
LARGEST = 4 << 20
"""Arrays of at most so many bytes are taken from a heap. Larger ones, which go back to the system at once, are of large
requests, whose time is not that of zeroing pages."""


def keep() -> None:
    """Have glibc's allocator keep what is freed for the next request's arrays (mallopt(3)); elsewhere do nothing.

    Its default gives them back after each request. The system then has to zero the pages again for the next request:
    300 pages for 64 completions, which takes a tenth of the request's time.
    """
    if (tune := _glibc("mallopt")) is not None:
        tune(M_TRIM_THRESHOLD, KEPT)
        tune(M_MMAP_THRESHOLD, LARGEST)
        tune(M_ARENA_MAX, 1)  # what one thread has freed, another one takes


def give_back() -> None:
    """Return free memory to the system, which glibc's allocator would keep (malloc_trim(3)); elsewhere do nothing.

    While a snapshot is saved, blocks that change are copied. The old blocks, once free, lie scattered over the heap.
    """
    if (trim := _glibc("malloc_trim")) is not None:
        trim(0)


def _glibc(name: str) -> Callable[..., int] | None:
    """A function of glibc's allocator; None if the system has another one."""
    return getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None
