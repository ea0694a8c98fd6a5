"""Reading logged rollouts and cutting them into requests."""

from __future__ import annotations

import gzip
import io
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from memr_client import InvalidRequest
from memr_client.schemas import Message
from memr_service.cli import output, rows
from memr_service.cli.rollouts import Rollout, read, requests


def write(folder, *lines):
    path = folder / "rollouts.jsonl"
    path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines), "utf-8")
    return path


def rollout(prompt="q", **fields):
    return {"prompt": prompt, "completion": "a", "outcome": 1, **fields}


def test_lines_become_rollouts_in_order_with_their_numbers(tmp_path):
    path = write(tmp_path, rollout("one", outcome=0.25), "", rollout("two", step=3, extra="ignored"))
    assert list(read(path)) == [
        Rollout(line=1, prompt="one", completion="a", outcome=0.25),
        Rollout(line=3, prompt="two", completion="a", outcome=1, step=3),
    ]


def test_a_verifier_may_say_true_and_false(tmp_path):
    path = write(tmp_path, rollout(outcome=True), rollout(outcome=False))
    assert [line.outcome for line in read(path)] == [1.0, 0.0]


def test_texts_may_be_chat_messages(tmp_path):
    path = write(tmp_path, rollout([{"role": "user", "content": "q"}]))
    (line,) = read(path)
    assert line.prompt == [Message(role="user", content="q")]


def test_half_a_surrogate_pair_is_read_as_a_replacement_character_and_its_field_is_named(tmp_path):
    path = write(tmp_path, rollout(), rollout("cut \ud83d", prompt_id="\ude00"))
    whole, mended = read(path)
    assert whole.halves == ()
    assert (mended.prompt, mended.prompt_id, mended.halves) == ("cut \ufffd", "\ufffd", ("prompt", "prompt_id"))


def test_a_line_feed_inside_a_text_does_not_end_the_line(tmp_path):
    path = write(tmp_path, rollout("a\u2028b\u0085c"))
    assert [line.prompt for line in read(path)] == ["a\u2028b\u0085c"]


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        ('{"prompt": "q", "completion"', "line 2 of {path} is not JSON"),
        ("[1, 2]", "line 2 of {path} is not an object"),
        ('{"prompt": "q", "completion": "a"}', "line 2 of {path} has no outcome"),
        ('{"prompt": "q", "completion": "a", "outcome": "1"}', "line 2 of {path}: outcome:"),
        ('{"prompt": "q", "completion": "a", "outcome": NaN}', "line 2 of {path}: outcome:"),
        ('{"prompt": 7, "completion": "a", "outcome": 1}', "line 2 of {path}: prompt:"),
        ('{"prompt": "q", "completion": "a", "outcome": 1, "step": -1}', "line 2 of {path}: step:"),
        (b"\xff\xfe".decode("latin-1"), "line 2 of {path} is not JSON"),
    ],
)
def test_a_bad_line_is_named_with_what_is_wrong_and_what_a_line_is(tmp_path, bad, says):
    path = write(tmp_path, rollout(), bad)
    with pytest.raises(InvalidRequest) as error:
        list(read(path))
    assert error.value.detail.startswith(says.format(path=path))
    assert '"outcome": 1' in error.value.remedy


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(InvalidRequest, match=r"cannot read .*nothing\.jsonl"):
        list(read(tmp_path / "nothing.jsonl"))


def cut(lines, by):
    made = [Rollout(completion="a", outcome=1, **line) for line in lines]
    return [len(members) for members in requests(made, by)]


def test_consecutive_lines_of_one_prompt_are_one_request():
    assert cut([{"prompt": "x"}, {"prompt": "x"}, {"prompt": "y"}, {"prompt": "x"}], "prompt") == [2, 1, 1]


def test_another_step_or_another_group_of_the_same_prompt_is_another_request():
    lines = [{"prompt": "x", "step": 0}, {"prompt": "x", "step": 1}, {"prompt": "x", "step": 1, "group_id": "g"}]
    assert cut(lines, "prompt") == [1, 1, 1]


def test_prompts_are_the_same_when_their_ids_are():
    assert cut([{"prompt": "x", "prompt_id": "p"}, {"prompt": "x ", "prompt_id": "p"}], "prompt") == [2]


def test_by_step_one_request_holds_all_groups_of_a_step():
    lines = [{"prompt": "x", "step": 0}, {"prompt": "y", "step": 0}, {"prompt": "y", "step": 1}]
    assert cut(lines, "step") == [2, 1]


def test_by_step_lines_without_a_step_fall_back_to_their_prompt():
    assert cut([{"prompt": "x"}, {"prompt": "x"}, {"prompt": "y"}], "step") == [2, 1]


FORMS = {
    "list.json": lambda rows: json.dumps(rows, indent=1).encode(),
    "mark.jsonl": lambda rows: b"\xef\xbb\xbf" + lines_of(rows),
    "mark.json": lambda rows: b"\xef\xbb\xbf\r\n " + json.dumps(rows).encode(),
    "packed.jsonl.gz": lambda rows: gzip.compress(lines_of(rows)),
    "windows.jsonl": lambda rows: lines_of(rows).replace(b"\n", b"\r\n\r\n"),
    "table.parquet": lambda rows: in_parquet(rows),
}


def lines_of(rows):
    return "\n".join(json.dumps(row) for row in rows).encode()


def in_parquet(rows):
    file = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), file)
    return file.getvalue()


@pytest.mark.parametrize("name", FORMS)
def test_other_forms_of_a_file_give_the_same_rollouts(tmp_path, name):
    rows = [rollout(f"q{n // 4}", outcome=n % 2, step=None, prompt_id=n // 4, group_id=f"g{n}") for n in range(8)]
    path = tmp_path / name
    path.write_bytes(FORMS[name](rows))
    found = list(read(path))
    assert [(one.prompt, one.outcome, one.prompt_id, one.group_id) for one in found] == [
        (row["prompt"], row["outcome"], str(row["prompt_id"]), row["group_id"]) for row in rows
    ]


def test_parquet_without_its_library_is_refused_with_the_remedy(tmp_path, monkeypatch):
    path = tmp_path / "table.parquet"
    path.write_bytes(in_parquet([rollout("q")]))
    monkeypatch.setattr(rows, "find_spec", lambda name: None)
    for reads_or_writes in (lambda: list(read(path)), lambda: output.check(tmp_path / "new.parquet", path)):
        with pytest.raises(InvalidRequest, match="is Parquet, which needs pyarrow") as refused:
            reads_or_writes()
        assert "pip install '.[parquet]'" in refused.value.remedy
    output.check(tmp_path / "new.jsonl", path)


def damaged(at, content):
    """A Parquet file with other bytes at a place."""
    whole = bytearray(in_parquet([rollout("q")]))
    at %= len(whole)
    whole[at : at + len(content)] = content
    return bytes(whole)


@pytest.mark.parametrize(
    "content", [damaged(4, b"\xff" * 40), damaged(-60, b"\x7f" * 50), damaged(-4, b"PARE"), b"PAR1", b"PARE"]
)
def test_a_damaged_or_encrypted_table_is_refused_with_a_remedy(tmp_path, content):
    path = tmp_path / "table.parquet"
    path.write_bytes(content)
    with pytest.raises(InvalidRequest, match="is not a whole Parquet file") as refused:
        list(read(path))
    assert (refused.value.value, bool(refused.value.limit)) == (str(path), True)
    assert "Write it again" in refused.value.remedy


@pytest.mark.parametrize(
    "column",
    [
        pa.array([2**60], pa.timestamp("ms")),
        pa.array([2**30], pa.date32()),
        pa.array([1], pa.timestamp("us", tz="Mars/Olympus")),
        pa.Array.from_buffers(pa.string(), 1, pa.array([b"\xff"]).buffers()),
    ],
)
def test_a_column_that_python_cannot_hold_is_named(tmp_path, column):
    path = tmp_path / "table.parquet"
    table = pa.Table.from_pylist([rollout("q")]).append_column("odd", column)
    pq.write_table(table, path)
    with pytest.raises(InvalidRequest, match=r"column 'odd' of .* has a value that cannot be read") as refused:
        list(read(path))
    assert refused.value.value == f"odd: {column.type}"
    assert "Leave the column out" in refused.value.remedy


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (gzip.compress(b"{}" * 99, mtime=0)[:-9], "cannot read"),
        (b"PAR1 and nothing of it", "is not a whole Parquet file"),
        (b"[" * 100_000, "is not JSON"),
        (b'{"prompt":' * 100_000, "line 1 of"),
        (b'[{"prompt": "q"}]', "item 1 of"),
        (b"[7]", "item 1 of .* is not an object"),
        ('{"prompt": "é"}'.encode("latin-1"), "line 1 of .* is not JSON"),
        (
            lines_of([rollout("q"), rollout("p")]).replace(b"\n", b"\r"),
            r"line 1 of .* end with \\r alone.*tr '\\r' '\\n'",
        ),
        (lines_of([rollout("q")]).decode().encode("utf-16"), "is not UTF-8, but probably UTF-16.*iconv -f UTF-16"),
        (lines_of([rollout("q")]).decode().encode("utf-16-le"), "is not UTF-8, but probably UTF-16"),
        (lines_of([rollout("q")]).decode().encode("utf-16-be"), "is not UTF-8, but probably UTF-16"),
        (
            b'{"prompt": [{"role": "system", "content": "q"}], "completion": "a", "outcome": 1}',
            "line 1 of .*role 'user'",
        ),
        (b'{"responses_create_params": {}, "response": {"output": []}, "reward": 1}', "line 1 of .*role 'user'"),
        (b'{"prompt": "q", "response": "a", "reward": 1}', r"has no completion\.\n.*Rename 'response' to 'completion'"),
    ],
)
def test_what_is_no_file_of_rollouts_is_refused_in_words(tmp_path, content, says):
    path = tmp_path / "rollouts"
    path.write_bytes(content)
    with pytest.raises(InvalidRequest, match=f"(?s){says}"):
        list(read(path))
