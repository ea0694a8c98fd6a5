"""`memr suspects` as a user types it."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from memr_client import RewardClient
from memr_service.__main__ import main
from memr_service.cli import terminal
from support.serving import serving

TEXTS = [f"What is {number} + 1?" for number in range(6)]


@pytest.fixture(scope="module")
def server() -> Any:
    with serving() as url:
        with RewardClient(url) as client:
            for run in ("a", "b"):
                client.create_run(run, preset="memory-r", extract="numeric")
                items = [item for item in range(6) for _ in range(4)]
                said = [item + 1 if place % 4 else 70 + place for place, item in enumerate(items)]
                references = ["99" if item == 2 else str(item + 1) for item in items]
                client.reward(
                    [TEXTS[item] for item in items],
                    [f"It is {one}." for one in said],
                    [float(str(one) == right) for one, right in zip(said, references, strict=True)],
                    run_id=run,
                    references=references,
                    prompt_ids=[f"q{item}" for item in items],
                )
        yield url


@pytest.fixture
def memr(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], server: str) -> Any:
    """Runs `memr suspects ARGS`; gives (exit status, stdout, stderr)."""

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["memr", "suspects", *map(str, arguments), "--url", server])
        monkeypatch.setattr(terminal.out, "width", 200)
        with pytest.raises(SystemExit) as stop:
            main()
        return int(stop.value.code or 0), *capsys.readouterr()

    return run


def test_suspects_are_shown_written_and_decided(memr: Any, server: str, tmp_path: Path) -> None:
    status, shown, _ = memr("a", "--runs", "b", "--min-probability", "0.1")
    assert status == 0
    assert "q2" in shown
    assert "2 of 2" in shown
    assert "GSM8K" in shown
    file = tmp_path / "suspects.jsonl"
    status, shown, _ = memr("a", "--runs", "b", "--min-probability", "0.1", "--out", file)
    (row,) = [json.loads(line) for line in file.read_text().splitlines()]
    assert (row["prompt_id"], row["reference"], row["answer"], row["decision"]) == ("q2", "99", "3", None)
    assert memr("a", "--decide", file)[1].startswith("a: 0 references are replaced and 0 kept; 0 decisions")
    file.write_text(json.dumps({**row, "decision": "replace"}) + "\n")
    assert "1 references are replaced" in memr("a", "--decide", file)[1]
    more = tmp_path / "more.jsonl"
    more.write_text('{"prompt_id": "q1", "decision": "keep"}\n')
    assert memr("a", "--decide", more)[1].endswith("2 decisions now.\n")
    found = json.loads(memr("a", "--runs", "b", "--min-probability", "0", "--json")[1])
    assert found["decided"] == 2
    assert "q2" not in [one["prompt_id"] for one in found["labels"]]
    with RewardClient(server) as client:
        client.set_decisions("a", [])


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ('{"prompt_id": "q1"}', "line 1 .*has no decision"),
        ('{"prompt_id": "q1", "decision": "perhaps"}', "decision"),
        ('{"decision": "keep"}', "missing"),
        ('{"prompt_id": "q1", "decision": "replace", "answer": null}', "right answer"),
        ("[1, 2]", "no decision|object"),
    ],
)
def test_a_line_without_a_decision_is_named(memr: Any, tmp_path: Path, line: str, says: str) -> None:

    file = tmp_path / "decided.jsonl"
    file.write_text(line + "\n")
    status, _, error = memr("a", "--decide", file)
    assert status == 1
    assert re.search(says, " ".join(error.split()))


def test_options_that_do_not_go_together_are_refused(memr: Any, tmp_path: Path) -> None:
    assert memr("a", "--decide", tmp_path / "x", "--out", tmp_path / "y")[0] == 1
    assert memr("a", "--out", tmp_path / "none" / "y")[0] == 1
    assert memr("none")[0] == 1
