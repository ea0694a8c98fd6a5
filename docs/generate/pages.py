"""The files that are generated: which there are, and what each should hold."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from docs.generate import results
from docs.generate.markdown import fill

ROOT = Path(__file__).parents[2]


def markdown() -> list[Path]:
    """Every page of the documentation, README included."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def tables() -> dict[Path, str]:
    """Every page that shows measured tables, with the tables as the result files have them."""
    return {path: fill(path.read_text("utf-8"), results.render) for path in markdown()}


PARTS: Mapping[str, Callable[[], dict[Path, str]]] = {"tables": tables}
"""What `python -m docs.generate` writes, by name."""
