"""`memr plan` as a user types it."""

from __future__ import annotations

import gzip
import json
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from memr_client import RewardClient
from memr_service.__main__ import main
from memr_service.cli import terminal
from support.serving import serving

PNG = b"\x89PNG\r\n\x1a\n"
M, G = 24, 4
TEXTS = [f"What is {number} + 1?" for number in range(M)]
RATES = [0.0, 1.0, 0.5] * (M // 3)
"""Prompts 0, 3, ... are impossible, 1, 4, ... are solved."""


@pytest.fixture(scope="module")
def server() -> Any:
    with serving() as url:
        with RewardClient(url) as client:
            client.create_run("run", preset="memory-r", group_size=G)
            for step in range(12):
                rng = np.random.default_rng(step)
                items = [item for item in rng.permutation(M - 3)[:14] for _ in range(G)]
                client.reward(
                    [TEXTS[item] for item in items],
                    [f"{step}.{place}" for place in range(len(items))],
                    (rng.random(len(items)) < np.array(RATES)[items]).astype(float).tolist(),
                    run_id="run",
                    step=step,
                )
        yield url


@pytest.fixture
def memr(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], server: str) -> Any:
    """Runs `memr plan ARGS`; gives (exit status, stdout, stderr)."""

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["memr", "plan", *map(str, arguments), "--url", server])
        monkeypatch.setattr(terminal.out, "width", 200)
        with pytest.raises(SystemExit) as stop:
            main()
        return int(stop.value.code or 0), *capsys.readouterr()

    return run


def rows() -> list[dict[str, Any]]:
    return [{"question": text, "answer": number, "extra": {"index": number}} for number, text in enumerate(TEXTS)]


def write(path: Path, ending: str) -> Path:
    path = path / f"train{ending}"
    if ending == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows()), path)
    elif ending == ".json":
        path.write_text(json.dumps(rows()))
    else:
        lines = "".join(json.dumps(row, separators=(",", " :  ")) + "\n" for row in rows()).encode()
        path.write_bytes(gzip.compress(lines) if ending.endswith(".gz") else lines)
    return path


def read(path: Path) -> list[Any]:
    if path.suffix == ".parquet":
        found: list[Any] = pq.read_table(path).to_pylist()
        return found
    text = path.read_text()
    return json.loads(text) if text.startswith("[") else [json.loads(line) for line in text.splitlines()]


@pytest.mark.parametrize(
    ("ending", "out"), [(".jsonl", ".jsonl"), (".jsonl.gz", ".jsonl"), (".json", ".json"), (".parquet", ".parquet")]
)
def test_picked_rows_are_written_unchanged_in_the_order_of_the_plan(
    memr: Any, tmp_path: Path, ending: str, out: str
) -> None:
    source, target = write(tmp_path, ending), tmp_path / f"next{out}"
    status, said, _ = memr("run", "--pool", source, "--n", 9, "--out", target)
    assert status == 0
    assert f"Wrote 9 of 24 rows to {target}" in said
    picked = read(target)
    assert all(row in rows() for row in picked)
    seen = [RATES[row["answer"]] for row in picked if row["answer"] < M - 3]
    assert seen[:5] == [0.5] * 5
    assert any(row["answer"] >= M - 3 for row in picked), "one of eight is unseen"
    status, said, _ = memr("run", "--pool", source, "--n", 9, "--json")
    assert [int(one["prompt_id"].split()[1]) - 1 for one in json.loads(said)["picks"]] == [
        row["answer"] for row in picked
    ]
    if ending == ".jsonl":
        assert set(target.read_bytes().splitlines()) <= set(source.read_bytes().splitlines())
    if ending == ".parquet":
        assert pq.read_schema(target) == pq.read_schema(source)


def test_retired_prompts_are_left_out_and_the_others_stay_in_their_order(memr: Any, tmp_path: Path) -> None:
    target = tmp_path / "alive.jsonl"
    command = ("run", "--pool", write(tmp_path, ".jsonl"), "--drop-retired", "--limit", 0.7, "--out", target)
    status, said, _ = memr(*command, "--json")
    assert status == 0
    found = json.loads(said)
    kept = [row["answer"] for row in read(target)]
    assert kept == sorted(kept)
    assert set(range(2, M, 3)) | {M - 3, M - 2} <= set(kept)
    assert found["written"] == len(kept) == 24 - sum(found["retired"].values())
    assert found["retired"]["solved"] > 3
    assert found["retired"]["impossible"] > 3
    assert found["known"] == 21


def test_all_are_picked_of_a_data_set_that_is_smaller_than_the_usual_number(memr: Any, tmp_path: Path) -> None:
    status, said, _ = memr("run", "--pool", write(tmp_path, ".jsonl"), "--json")
    assert status == 0
    assert len(json.loads(said)["picks"]) == M


def test_a_table_says_what_is_expected_of_each_pick(memr: Any, tmp_path: Path) -> None:
    status, said, _ = memr("run", "--pool", write(tmp_path, ".jsonl"), "--n", 4, "--group-size", 16)
    assert status == 0
    for expected in ("low to high", "spread", "own", "row ", "Expected share of groups with spread", "21 of 24"):
        assert expected in said


def test_the_file_becomes_the_pool_of_a_run_that_has_none(memr: Any, server: str, tmp_path: Path) -> None:
    with RewardClient(server) as client:
        client.fork("run", "pooled")
        assert memr("pooled")[2].startswith("error: run 'pooled' has no pool")
        source = write(tmp_path, ".jsonl")
        command = ("pooled", "--pool", source, "--id-field", "extra.index", "--n", 5, "--json")
        by_candidates = json.loads(memr(*command)[1])["picks"]
        assert client.pool("pooled").prompts == 0
        assert json.loads(memr(*command, "--set-pool")[1])["picks"] == by_candidates
        assert (client.pool("pooled").prompts, client.pool("pooled").visited) == (M, 21)
        assert json.loads(memr("pooled", "--n", 5, "--json")[1])["picks"] == by_candidates
        digest = client.pool("pooled").digest
        assert memr("pooled", "--pool", source, "--n", 5, "--set-pool")[0] == 0
        assert client.pool("pooled").digest == digest


def test_a_run_that_knows_none_of_the_prompts_says_so(memr: Any, tmp_path: Path) -> None:
    (tmp_path / "train.jsonl").write_text('{"id": 1, "prompt": "other"}\n{"id": 2, "prompt": "texts"}\n')
    target = tmp_path / "next.jsonl"
    status, _, remarked = memr("run", "--pool", tmp_path / "train.jsonl", "--n", 1, "--out", target)
    assert status == 0
    assert "knows none of these prompts" in remarked
    assert "--id-field" in remarked


def test_a_backtest_is_a_table_and_a_picture(memr: Any, tmp_path: Path) -> None:
    picture = tmp_path / "backtest.png"
    status, said, _ = memr("run", "--backtest", "--figure", picture)
    assert status == 0
    for expected in ("AUC", "Brier", "calibration error", "0.75 or more", "of groups with spread", "Calibration"):
        assert expected in said
    assert picture.read_bytes().startswith(PNG)
    status, said, _ = memr("run", "--backtest", "--json")
    assert json.loads(said)["auc"] > 0.8


def test_a_run_starts_from_counts_and_is_created_if_there_is_none(memr: Any, server: str, tmp_path: Path) -> None:
    file = tmp_path / "counts.jsonl"
    lines = [("a", 3, 4), ("b", True, 1), ("b", 0, 1)]
    file.write_text("".join(json.dumps({"prompt": one, "right": right, "n": n}) + "\n" for one, right, n in lines))
    status, said, _ = memr("fresh", "--prior", file)
    assert status == 0
    assert "starts from the counts of 2 prompts: 4 of 6 completions right" in said
    with RewardClient(server) as client:
        baseline = client.reward(["a", "b"], ["x", "y"], [1, 0], run_id="fresh", mode="eval").baseline
    assert baseline == [0.75, 0.5]
    assert memr("fresh", "--prior", file)[0] == 0  # it changes nothing
    file.write_text(json.dumps({"prompt": "a", "right": 1, "n": 4}))
    status, _, said = memr("fresh", "--prior", file)
    assert status == 1
    assert "already" in said


def test_a_run_without_second_visits_foresees_nothing(memr: Any, server: str) -> None:
    with RewardClient(server) as client:
        client.create_run("once", preset="memory-r")
        client.reward(["a", "a"], ["x", "y"], [1, 0], run_id="once")
    status, said, _ = memr("once", "--backtest")
    assert status == 0
    assert "nothing was foreseen" in said


WRONG: list[tuple[tuple[str, ...], str, str]] = [
    (("--backtest", "--n", "3"), "--backtest does not go with --n", "Leave one"),
    (("--backtest", "--step", "0"), "--backtest does not go with --step", "Leave one"),
    (("--pool", "FILE", "--n", "0", "--out", "x.jsonl"), "n is 0", "Nothing was sent"),
    (("--pool", "FILE", "--group-size", "0"), "group_size is 0", "Nothing was sent"),
    (("--prior", "FILE", "--json"), "--prior does not go with --json", "Leave one"),
    (("--backtest", "--objective", "spread"), "--backtest does not go with --objective", "Leave one"),
    (("--backtest", "--figure", "x.jpg"), "x.jpg does not end in .png", "x.png"),
    (("--backtest", "--figure", "curve"), "curve does not end in .png", "curve.png"),
    (("--backtest", "--limit", "0.7"), "--backtest does not go with --limit", "Leave one"),
    (("--pool", "FILE", "--n", "3", "--limit", "0.7"), "--limit is about prompts to drop", "--drop-retired"),
    (("--figure", "x.png"), "--figure draws a backtest", "--backtest"),
    (("--out", "x.jsonl", "--n", "3"), "--out is about a data set", "--pool"),
    (("--pool", "FILE", "--drop-retired"), "--drop-retired writes a file", "--out"),
    (("--pool", "FILE", "--drop-retired", "--out", "x.jsonl", "--n", "3"), "does not go with --n", "Leave one"),
    (
        ("--pool", "FILE", "--drop-retired", "--out", "x.jsonl", "--objective", "target"),
        "--drop-retired does not go with --objective",
        "Leave one",
    ),
    (("--pool", "FILE", "--out", "x.jsonl"), "which rows", "--n 2000"),
    (("--pool", "FILE", "--n", "3", "--out", "FILE"), "is the input file", "another"),
    (("--pool", "FILE", "--n", "3", "--out", "x.parquet"), "written unchanged", ".jsonl"),
    (("--pool", "FILE", "--n", "25", "--out", "x.jsonl"), "24 prompts to choose from", "fewer"),
    (("--pool", "FILE", "--prompt-field", "problem"), "line 1 of .* has no problem", "--prompt-field"),
    (("--pool", "FILE", "--id-field", "extra"), "extra: Input should be a valid string", "--id-field"),
    (("--pool", "nowhere.jsonl"), "cannot read nowhere.jsonl", "Give a file"),
    (("--backtest", "--figure", "nowhere/x.png"), "folder nowhere does not exist", "Create"),
    (("--prior", "FILE"), "line 1 of .* has no right", "right"),
]


@pytest.mark.parametrize(("options", "said", "remedy"), WRONG, ids=[" ".join(options) for options, _, _ in WRONG])
def test_what_is_wrong_is_named_with_a_remedy(
    memr: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...], said: str, remedy: str
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path, ".jsonl")
    status, _, complained = memr("run", *(one.replace("FILE", "train.jsonl") for one in options))
    assert status == 1
    assert "Traceback" not in complained
    error, _, rest = complained.partition("\n")
    assert re.search(said, error)
    assert remedy in rest
    assert sorted(path.name for path in tmp_path.iterdir()) == ["train.jsonl"]


def test_an_unknown_run_is_named(memr: Any) -> None:
    assert "nobody" in memr("nobody", "--n", 3)[2]
