"""What the pages say that the default encoder gives."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from memr_client import RewardClient

DOCS = Path(__file__).parents[2] / "docs"


def test_the_first_table_of_look_into_a_run_is_what_attempts_pays():
    page = (DOCS / "how-to/look-into-a-run.md").read_text("utf-8")
    rows = re.findall(r"^\| ([^|]+\.) \| ([01]) \| (\d\.\d\d) \| (\d\.\d\d) \|$", page, re.MULTILINE)
    completions, outcomes = [row[0] for row in rows], [int(row[1]) for row in rows]
    assert len(rows) == 4
    assert all(completion in page.split("```")[1] for completion in completions)
    with RewardClient.embedded(run="sums", preset="attempts") as client:
        rewards = client.reward(["2 + 3 = ?"] * 4, completions, outcomes, step=0).rewards
    assert rewards == pytest.approx([float(row[2]) for row in rows], abs=0.01)
    assert [float(row[3]) for row in rows] == pytest.approx(
        [outcome + float(row[2]) for outcome, row in zip(outcomes, rows, strict=True)]
    )
