"""Questions in files of JSON lines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

Line = dict[str, Any]


def split(data: Path) -> tuple[list[Line], list[Line]]:
    """Lines to train on and lines held out: of a folder train.jsonl and test.jsonl, of a file every tenth line."""
    if data.is_dir():
        return read(data / "train.jsonl"), read(data / "test.jsonl")
    lines = read(data)
    return [line for place, line in enumerate(lines) if place % 10 != 9], lines[9::10]


def read(path: Path) -> list[Line]:
    """All objects of a file, one a line; empty lines are passed over."""
    return [json.loads(line) for line in path.read_text("utf-8").splitlines() if line.strip()]
