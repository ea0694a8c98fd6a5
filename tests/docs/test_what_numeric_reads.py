"""The table of docs/how-to/openrlhf.md that says what the verifier `numeric` reads."""

from __future__ import annotations

import re
from fractions import Fraction
from pathlib import Path

from support.final_number import final_number

PAGE = Path(__file__).parents[2] / "docs/how-to/openrlhf.md"


def test_every_row_is_true():
    table = PAGE.read_text("utf-8").partition("| said | read as |")[2].partition("\n\n")[0]
    rows = re.findall(r"^\| (`.*`) \| (.*) \|$", table, re.MULTILINE)
    assert len(rows) == 9
    for said, read in rows:
        texts = re.findall(r"`([^`]+)`", said)
        numbers = [None] * len(texts) if read == "no number" else [Fraction(number) for number in read.split(", ")]
        assert [final_number(text) for text in texts] == numbers
