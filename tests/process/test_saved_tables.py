"""What the dashboard saves as CSV, by its own JavaScript."""

from __future__ import annotations

import csv
import io
import json
import shutil
import subprocess
from pathlib import Path

import memr_service
import pytest

SAVE = Path(memr_service.__file__).parent / "app/dashboard/save.js"

TEXTS = {
    "=1+1": "'=1+1",
    "+SUM(A1)": "'+SUM(A1)",
    "-2+3": "'-2+3",
    "@x": "'@x",
    "\t=1": "'\t=1",
    "  =1": "'  =1",
    "\r=1": "'\r=1",
    "＝1": "'＝1",
    "-5": "-5",
    "+1.5e3": "+1.5e3",
    "a=1": "a=1",
    'say "hi", then\ngo': 'say "hi", then\ngo',
    "a;=1": "a;=1",
}
"""A text of a run -> what a spreadsheet reads."""


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
def test_no_text_of_a_run_is_a_formula_in_a_saved_table():
    given = [*TEXTS, -3, 0.5]
    script = SAVE.read_text("utf-8") + f"\nconsole.log({json.dumps(given)}.map(field).join(','))"
    ran = subprocess.run(["node", "--input-type=module"], input=script.encode(), capture_output=True, check=True)
    assert next(csv.reader(io.StringIO(ran.stdout.decode(), newline=""))) == [*TEXTS.values(), "-3", "0.5"]
