"""Tables of figures: whole in any width, names folded, nothing cut."""

from __future__ import annotations

import io

import pytest
from memr_service.cli.sheet import Sheet
from rich.console import Console

FIGURES = [f"{row}.{column}42" for row in range(2) for column in range(9)]


def shown(width: int, names: tuple[str, ...] = ("as recorded", "official-memory-r+, k 20")) -> str:
    sheet = Sheet("setting", title="What it is", caption="How to read it.")
    for block in range(3):
        sheet.block(f"part {block}\nraw", "sd", "AUC")
    sheet.block("remark", figures=False)
    for row, name in enumerate(names):
        figures = FIGURES[9 * row : 9 * row + 9]
        sheet.row(name, *(figures[at : at + 3] for at in (0, 3, 6)), [f"remark {row}"])
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(sheet)
    return console.export_text()


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_every_figure_is_whole_in_any_width(width):
    text = shown(width)
    assert all(figure in text.split() for figure in FIGURES)
    assert "…" not in text
    assert all(len(line.rstrip()) <= width for line in text.splitlines())
    assert text.startswith("What it is\n")
    assert text.rstrip().endswith("How to read it.")


def test_a_wide_terminal_shows_one_table_and_a_narrow_one_several_with_the_same_names():
    assert shown(140).count("as recorded") == 1
    assert shown(60).count("as recorded") > 1


def test_long_names_are_folded_and_not_cut():
    name = "x" * 128
    lines = shown(80, (name, "k 1")).splitlines()
    folded = "".join(line.split()[0] for line in lines if line.startswith("x"))
    assert folded.startswith(name)


def test_markup_in_a_cell_is_text():
    assert "[red]" in shown(140, ("[red]", "k 1"))


def test_a_cell_gives_the_terminal_no_orders():
    text = shown(140, ("\x1b]52;c;ZXZpbA==\x07 \x9b2J\rover", "k 1"))
    assert not any(character in text for character in "\x1b\x07\x9b\r")
    assert r"\x1b]52;c;ZXZpbA==\x07 \x9b2J\x0dover" in text


def test_it_is_plain_ascii_where_the_terminal_is():
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    sheet = Sheet("name")
    sheet.block("figure")
    sheet.row("a", ["0.5"])
    Console(width=80, file=stream).print(sheet)
    stream.flush()
    assert "0.5" in stream.buffer.getvalue().decode("ascii")
