"""What the processor can do, according to the kernel."""

from __future__ import annotations

from functools import cache
from pathlib import Path

_BFLOAT16 = {"amx_bf16", "avx512_bf16", "bf16", "svebf16"}


@cache
def bfloat16() -> tuple[str, ...]:
    """Its instructions for products of bfloat16 matrices; empty if it has none, or if /proc/cpuinfo cannot be read."""
    try:
        words = set(Path("/proc/cpuinfo").read_text("utf-8").split())
    except OSError:
        return ()
    return tuple(sorted(words & _BFLOAT16))
