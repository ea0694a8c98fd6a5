"""Publishes measured tables: `docs/results/NAME.json`, from which `docs.generate` writes the pages."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.report import ROOT, commit, machine

FOLDER = ROOT / "docs" / "results"

Row = dict[str, Any]
Table = dict[str, Any]
"""What `publish` takes of a table: its title, columns and rows."""


def table(title: str, cells: Mapping[str, str], rows: Sequence[Row]) -> Table:
    """A table of rows.

    Args:
        cells: heading -> the template of its cells.
    """
    columns = [{"heading": heading, "cell": cell} for heading, cell in cells.items()]
    return {"title": title, "columns": columns, "rows": rows}


def publish(
    name: str,
    title: str,
    command: str,
    columns: Sequence[Mapping[str, str]],
    rows: Sequence[Mapping[str, Any]],
    *,
    seconds: float,
    quick: bool = False,
    on: str | None = None,
) -> None:
    """Write a table, with the commit and the machine.

    Args:
        columns: of each its `heading`, and the template of its `cell` over a row's fields.
        seconds: how long it took.
        on: the machine in words; empty if the figures are the same on every machine. None: this one.
    """
    result = {
        "title": title,
        "command": command,
        "commit": commit()[:8],
        "machine": machine() if on is None else on,
        "seconds": round(seconds),
        "quick": quick,
        "columns": columns,
        "rows": rows,
    }
    (FOLDER / f"{name}.json").write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n", "utf-8")
