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


def marked(kind: str) -> re.Pattern[str]:
    """The blocks of a page that a command writes: `<!-- KIND: NAME -->` to `<!-- end -->`."""
    return re.compile(rf"(<!-- {kind}: ([a-z][a-z0-9-]*) -->\n).*?(<!-- end -->)", re.DOTALL)


def fill(page: str, kind: str, write: Callable[[str], str]) -> str:
    """The page with each block of this kind replaced by what `write` gives for its name."""
    return marked(kind).sub(lambda found: f"{found[1]}{write(found[2])}\n{found[3]}", page)
