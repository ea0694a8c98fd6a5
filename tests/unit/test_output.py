"""The files that `memr score` writes: complete, or not written at all."""

from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from memr_client import InvalidRequest
from memr_service.cli import output

ROWS = [
    {"line": 1, "prompt": "q", "outcome": 1.0, "step": None, "reward": 0.5, "explore_raw": None, "support_success": 0},
    {"line": 2, "prompt": "é", "outcome": 0.0, "step": 7, "reward": 1.5, "explore_raw": 0.25, "support_success": 3},
]


def test_json_lines_hold_every_row(tmp_path):
    path = tmp_path / "rewards.jsonl"
    with output.writing(path) as write:
        write(ROWS[:1])
        write(ROWS[1:])
    assert [json.loads(line) for line in path.read_text().splitlines()] == ROWS


def test_parquet_holds_the_same_rows(tmp_path):
    path = tmp_path / "rewards.parquet"
    with output.writing(path) as write:
        write(ROWS)
    assert pq.read_table(path).to_pylist() == ROWS


def test_parquet_columns_keep_their_type_when_the_first_rows_are_null(tmp_path, monkeypatch):
    monkeypatch.setattr(output, "ROWS_PER_GROUP", 1)
    path = tmp_path / "rewards.parquet"
    with output.writing(path) as write:
        for row in ROWS:
            write([row])
    table = pq.read_table(path)
    assert table.to_pylist() == ROWS
    assert table.schema.field("step").type == pa.int64()
    assert table.schema.field("explore_raw").type == pa.float64()


def test_half_a_surrogate_pair_does_not_break_parquet(tmp_path):
    path = tmp_path / "rewards.parquet"
    with output.writing(path) as write:
        write([{"line": 1, "prompt": "\ud800!"}])
    assert pq.read_table(path).to_pylist() == [{"line": 1, "prompt": "?!"}]


@pytest.mark.parametrize("name", ["rewards.jsonl", "rewards.parquet"])
def test_a_failure_leaves_the_file_that_was_there_before(tmp_path, name):
    path = tmp_path / name
    path.write_text("yesterday's")
    with pytest.raises((TypeError, ValueError)), output.writing(path) as write:
        write([*ROWS, {"line": object()}])
    assert path.read_text() == "yesterday's"
    assert list(tmp_path.iterdir()) == [path]


def test_no_path_writes_nowhere():
    with output.writing(None) as write:
        write(ROWS)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("rewards.csv", "cannot tell"),
        ("nowhere/rewards.jsonl", "does not exist"),
        ("in.jsonl", "is the input file"),
    ],
)
def test_a_file_that_cannot_be_written_is_refused_beforehand(tmp_path, name, says):
    with pytest.raises(InvalidRequest, match=says):
        output.check(tmp_path / name, tmp_path / "in.jsonl")
