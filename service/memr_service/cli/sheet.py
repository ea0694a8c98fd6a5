"""`Sheet`: a table of figures that stays readable in a narrow terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from rich.box import SIMPLE
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from memr_service.cli.terminal import shown

GAP = 2
"""Characters between two columns."""
SHORTEST_NAME = 36
"""Names are folded to this width before the sheet is divided."""
SHORTEST_TEXT = 20
"""Texts are folded to this width before the sheet is divided."""


@dataclass
class _Block:
    headings: Sequence[str]
    figures: bool
    rows: list[Sequence[str]] = field(default_factory=list)

    def width(self, most: int) -> int:
        """The least width that shows everything, if cells are folded to `most` characters."""
        if self.figures:
            most = sys.maxsize
        columns = zip(self.headings, *self.rows, strict=True)
        return sum(
            GAP + min(most, max(cell_len(line) for cell in column for line in cell.split("\n"))) for column in columns
        )


class Sheet:
    """A table with a column of names and blocks of further columns.

    Where the terminal is too narrow for all blocks, those that do not fit follow in further tables with the same names.
    So every figure is shown whole; names are folded, and nothing is cut.

    sheet = Sheet("setting", title="what it is", caption="how to read it")
    sheet.block("mean", "sd")
    sheet.block("remark", figures=False)
    sheet.row("k 1", ["0.5", "0.1"], ["none"])
    console.print(sheet)
    """

    def __init__(self, heading: str, *, title: str | None = None, caption: str | None = None) -> None:
        self.title = title
        self.caption = caption
        self._names = _Block([heading], figures=False)
        self._blocks: list[_Block] = []
        self._sections: set[int] = set()

    def block(self, *headings: str, figures: bool = True) -> None:
        """Add columns that stay together. Figures are aligned to the right and stay on one line; texts are folded."""
        self._blocks.append(_Block(headings, figures))

    def row(self, name: str, *cells: Sequence[str]) -> None:
        """Add a row: its name, and the cells of each block."""
        self._names.rows.append([name])
        for block, one in zip(self._blocks, cells, strict=True):
            block.rows.append(one)

    def section(self) -> None:
        """Draw a line between the rows so far and those that follow."""
        self._sections.add(len(self._names.rows))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """The tables that fit the width, one below the other."""
        if self.title:
            yield Text(self.title, style="bold")
        for number, blocks in enumerate(self._divided(options.max_width)):
            if number:
                yield Text()
            yield self._table(blocks)
        if self.caption:
            yield Text(self.caption, style="dim")

    def _divided(self, width: int) -> Iterator[list[_Block]]:
        together: list[_Block] = []
        names = self._names.width(SHORTEST_NAME) - GAP
        for block in self._blocks:
            if together and names + sum(one.width(SHORTEST_TEXT) for one in [*together, block]) > width:
                yield together
                together = []
            together.append(block)
        yield together

    def _table(self, blocks: Sequence[_Block]) -> Table:
        table = Table(box=SIMPLE, show_edge=False, pad_edge=False, collapse_padding=True)
        table.add_column(self._names.headings[0], overflow="fold")
        for block in blocks:
            for heading in block.headings:
                if block.figures:
                    table.add_column(heading, justify="right", no_wrap=True)
                else:
                    table.add_column(heading, overflow="fold")
        for number, (name,) in enumerate(self._names.rows):
            if number in self._sections:
                table.add_section()
            table.add_row(*(shown(cell) for cell in (name, *(cell for block in blocks for cell in block.rows[number]))))
        return table
