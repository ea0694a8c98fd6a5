"""Measured tables: `docs/results/NAME.json` as Markdown, with the command, commit and machine they come from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from string import Formatter
from typing import Any

from docs.generate.markdown import table

FOLDER = Path(__file__).parents[1] / "results"


def names() -> list[str]:
    """All tables that can be named in a page."""
    return sorted(path.stem for path in FOLDER.glob("*.json"))


@cache
def read(name: str) -> Any:
    """The result file of that name."""
    path = FOLDER / f"{name}.json"
    if not path.exists():
        raise FileNotFoundError(f"there is no table {name!r}; docs/results/README.md lists them")
    return json.loads(path.read_text("utf-8"))


def render(name: str) -> str:
    """The table, and one line that says where its figures come from; the name `tables` lists all of them."""
    if name == "tables":
        return table(["name", "shows", "command"], [[f"`{one}`", *described(one)] for one in names()])
    result = read(name)
    columns = result["columns"]
    rows = [[Cell().format(column["cell"], **row) for column in columns] for row in result["rows"]]
    return table([column["heading"] for column in columns], rows) + f"\n\n*{source(result)}*"


def described(name: str) -> list[str]:
    """Title and command of a result."""
    result = read(name)
    return [result["title"], f"`{result['command']}`"]


def source(result: Mapping[str, Any]) -> str:
    """Command, commit and machine of a result, and how long it took."""
    took = result["seconds"] and f", {took_about(result['seconds'])}"
    quick = " (a quick, smaller run)" if result["quick"] else ""
    machine = f" on {result['machine']}" if result["machine"] else ""
    return (
        f"{result['title']}. Measured by `{result['command']}`{quick}, commit {result['commit']}{machine}{took or ''}."
    )


def took_about(seconds: float) -> str:
    """A duration in words."""
    return f"{seconds:.0f} seconds" if seconds < 120 else f"{seconds / 60:.0f} minutes"


class Cell(Formatter):
    """Formats a row's values by a column's template; a template with a value that is null gives an empty cell.

    In addition to Python's own format specifications there are `short` (three digits that count), `bare` (".27") and
    `percent` of a number; a specification applies to each number of a list.
    """

    def vformat(self, format_string: str, args: Any, kwargs: Any) -> str:
        """The cell."""
        fields = [field for _, field, _, _ in self.parse(format_string) if field]
        if any(kwargs[field] is None for field in fields):
            return ""
        return super().vformat(format_string, args, kwargs)

    def format_field(self, value: Any, format_spec: str) -> str:
        """One value of a cell."""
        if isinstance(value, list):
            return " ".join(self.format_field(one, format_spec) for one in value)
        if format_spec == "short":
            return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
        if format_spec == "bare":
            return f"{value:.2f}".removeprefix("0")
        return format(value, format_spec)
