"""What the processor can do, as the kernel tells it."""

from __future__ import annotations

from functools import cache
from pathlib import Path

_BFLOAT16 = {"amx_bf16", "avx512_bf16", "bf16", "svebf16"}


@cache
def bfloat16() -> tuple[str, ...]:
    """Its instructions for products of bfloat16 matrices; none where there are none, or no kernel tells."""
    try:
        words = set(Path("/proc/cpuinfo").read_text("utf-8").split())
    except OSError:
        return ()
    return tuple(sorted(words & _BFLOAT16))
