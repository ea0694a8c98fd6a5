"""Data sets that are planned from, and files of counts that a run starts from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from memr_client import InvalidRequest
from memr_client.schemas import Message
from memr_service.cli import counts, dataset


def write(folder: Path, *lines: Any) -> Path:
    path = folder / "file.jsonl"
    path.write_bytes(b"".join((one if isinstance(one, bytes) else json.dumps(one).encode()) + b"\n" for one in lines))
    return path


def data_of(folder: Path, *lines: Any, id_field: str | None = None, prompt_field: str | None = None) -> Any:
    return dataset.read(write(folder, *lines), "train", id_field, prompt_field)


def test_ids_and_texts_have_usual_names_or_are_named(tmp_path: Path) -> None:
    row = {"id": 7, "prompt": "a", "question": "b", "deep": {"index": 9}, "a.b": "c"}
    (one,) = data_of(tmp_path, row).prompts
    assert (one.name, one.text) == ("7", "a")
    (one,) = data_of(tmp_path, row, id_field="deep.index", prompt_field="a.b").prompts
    assert (one.name, one.text) == ("9", "c")


def test_chat_messages_are_texts_too_and_halves_of_surrogate_pairs_are_replaced(tmp_path: Path) -> None:
    row = {"prompt": [{"role": "user", "content": "q \ud83d"}]}
    (one,) = data_of(tmp_path, row).prompts
    assert one.text == [Message(role="user", content="q \ufffd")]


def test_rows_of_one_prompt_belong_together(tmp_path: Path) -> None:
    data = data_of(tmp_path, {"prompt": "a"}, {"prompt": "b"}, {"prompt": "a"})
    assert [(one.name, one.rows) for one in data.prompts] == [("row 1", [0, 2]), ("row 2", [1])]
    assert data.rows_of(["row 2", "row 1"]) == [1, 0, 2]


def test_a_data_set_without_texts_is_known_by_ids(tmp_path: Path) -> None:
    data = data_of(tmp_path, {"prompt_id": "a"}, {"prompt_id": "b"})
    assert (data.names, data.texts) == (["a", "b"], None)


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ((), "train has no rows"),
        (({"problem": "a"},), "line 1 of train has no prompt"),
        (({"prompt": "a"}, {"question": "b"}), "line 2 of train has no prompt"),
        (({"prompt": None},), "line 1 of train: prompt"),
        (({"id": True, "prompt": "a"},), "line 1 of train: id"),
        (({"id": 1, "prompt": "a"}, {"id": 1, "prompt": "b"}), "line 2 .* has the id of line 1 .*, but another text"),
        ((b"[1]",), "item 1 of train is not an object"),
        ((b"{",), "line 1 of train is not JSON"),
        (({"prompt": "a"}, b"7"), "line 2 of train is not an object"),
        ((b"PAR1 and no more",), "not a whole Parquet file"),
        ((b"\x1f\x8b and no more",), "cannot read train"),
        (('{"prompt": "a"}'.encode("utf-16"),), "UTF-16"),
    ],
)
def test_a_data_set_that_cannot_be_read_is_refused(tmp_path: Path, lines: tuple[Any, ...], said: str) -> None:
    with pytest.raises(InvalidRequest, match=said) as refused:
        data_of(tmp_path, *lines)
    assert refused.value.detail


def test_counts_of_one_prompt_are_added_up(tmp_path: Path) -> None:
    one, other = (
        {"prompt_id": 1, "prompt": "a", "right": 1, "n": 2},
        {"prompt_id": "2", "prompt": "b", "right": 0, "n": 1},
    )
    found = counts.read(write(tmp_path, one, other, one), "counts")
    assert (found.prompt_ids, found.prompts, found.right, found.n) == (["1", "2"], ["a", "b"], [2, 0], [4, 1])


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ((), "counts has no rows"),
        (({"right": 1, "n": 2},), "line 1 of counts has neither prompt nor prompt_id"),
        (({"prompt": "a", "right": 1},), "line 1 of counts has no n"),
        (({"prompt": "a", "right": 3, "n": 2},), "line 1 of counts: right is 3, but n is 2"),
        (({"prompt": "a", "right": -1, "n": 2},), "line 1 of counts: right"),
        (({"prompt": "a", "right": 0, "n": 0},), "line 1 of counts: n"),
        (({"prompt": "a", "right": 10**400, "n": 1},), "line 1 of counts: right"),
        (
            ({"prompt": "a", "right": 1, "n": 2}, {"prompt_id": "b", "right": 1, "n": 2}),
            "line 2 of counts: some lines have a prompt",
        ),
    ],
)
def test_counts_that_cannot_be_read_are_refused(tmp_path: Path, lines: tuple[Any, ...], said: str) -> None:
    with pytest.raises(InvalidRequest, match=said):
        counts.read(write(tmp_path, *lines), "counts")


@pytest.mark.parametrize("numbers", [[], [1, 0]])
def test_rows_of_a_table_are_written_in_the_order_asked_for_also_none(tmp_path: Path, numbers: list[int]) -> None:
    table = pa.table({"prompt": ["a", "b"], "odd": pa.array([1, 2], pa.uint8())})
    pq.write_table(table, tmp_path / "train.parquet")
    data = dataset.read(tmp_path / "train.parquet", "train", None, None)
    data.write(tmp_path / "new.parquet", numbers)
    written = pq.read_table(tmp_path / "new.parquet")
    assert written.schema == table.schema
    assert written["prompt"].to_pylist() == ["ab"[number] for number in numbers]
