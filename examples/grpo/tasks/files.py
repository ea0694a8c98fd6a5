"""Reads questions from JSON lines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

Line = dict[str, Any]


def split(data: Path) -> tuple[list[Line], list[Line]]:
    """Training and held-out lines: train.jsonl and test.jsonl of a folder, or a file with every tenth line held out."""
    if data.is_dir():
        return read(data / "train.jsonl"), read(data / "test.jsonl")
    lines = read(data)
    return [line for number, line in enumerate(lines) if number % 10 != 9], lines[9::10]


def read(path: Path) -> list[Line]:
    """All objects of a file, one per line. Empty lines are skipped."""
    return [json.loads(line) for line in path.read_text("utf-8").splitlines() if line.strip()]
