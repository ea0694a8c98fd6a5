"""What the kernel says of the processor."""

from __future__ import annotations

from pathlib import Path

import pytest
from memr_service.encoder import cpu


@pytest.mark.parametrize(
    ("flags", "found"), [("fpu amx_bf16 avx512_bf16 sse", ("amx_bf16", "avx512_bf16")), ("fpu sse", ()), (None, ())]
)
def test_bfloat16_is_read_from_what_the_kernel_says(
    flags: str | None, found: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    def told(path: Path, encoding: str) -> str:
        if flags is None:
            raise FileNotFoundError(path)
        return f"flags : {flags}\n"

    monkeypatch.setattr(cpu.Path, "read_text", told)
    assert cpu.bfloat16.__wrapped__() == found
