"""Markdown tables, and the marked blocks of a page that are written by a command."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table. Bars inside cells are escaped, line breaks become spaces."""
    head, *body = ("| " + " | ".join(map(cell, line)) + " |" for line in (headings, *rows))
    return "\n".join([head, "|" + "---|" * len(headings), *body])


def cell(text: str) -> str:
    """Text as one cell of a table."""
    return " ".join(text.split()).replace("|", "\\|")


MARKED = re.compile(r"(<!-- table: ([a-z][a-z0-9-]*) -->\n).*?(<!-- end -->)", re.DOTALL)
"""A block that `make docs-tables` writes."""


def fill(page: str, write: Callable[[str], str]) -> str:
    """The page with each marked block replaced by what `write` gives for its name."""
    return MARKED.sub(lambda found: f"{found[1]}{write(found[2])}\n{found[3]}", page)
