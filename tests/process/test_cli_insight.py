"""`memr explain`, `replay`, `verify` and `report` as a user types them."""

from __future__ import annotations

import json
import sqlite3
import sys
from contextlib import closing

import numpy as np
import pytest
from memr_client import RewardClient
from memr_service.__main__ import main
from memr_service.cli import figures, terminal
from memr_service.state.codec import seal, unseal
from memr_service.store import open_store
from memr_service.store.base import StoredRecord, restored
from support.serving import serving

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def memr(monkeypatch, capsys):
    """Runs `memr ARGS`; gives (exit status, stdout, stderr)."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["memr", *map(str, arguments)])
        monkeypatch.setattr(terminal.out, "width", 200)
        with pytest.raises(SystemExit) as stop:
            main()
        return stop.value.code or 0, *capsys.readouterr()

    return run


def fill(client: RewardClient) -> None:
    rng = np.random.default_rng(0)
    client.create_run("run", explore_warmup_steps=3)
    for step in range(30):
        completions = [f"it is {rng.integers(9)} of {step}" for _ in range(8)]
        client.reward(
            ["2 + 3?"] * 4 + ["7 + 5?"] * 4, completions, rng.integers(2, size=8).tolist(), run_id="run", step=step
        )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A store's folder that no server uses."""
    folder = tmp_path_factory.mktemp("store")
    with RewardClient.embedded(f"sqlite:///{folder}", encoder="hashed") as client:
        fill(client)
    return folder


@pytest.fixture(scope="module")
def server():
    with serving() as url:
        with RewardClient(url) as client:
            fill(client)
        yield url


def test_a_sweep_is_a_table_and_a_picture(memr, folder, tmp_path):
    picture = tmp_path / "sweep.png"
    status, said, _ = memr("replay", "run", "--data", folder, "--k", "1,2", "--figure", picture)
    assert status == 0
    for expected in ("as recorded", "k 1", "k 2", "240 completions", "exploit", "1.000"):
        assert expected in said
    assert picture.read_bytes().startswith(PNG)


def test_presets_and_settings_multiply(memr, folder, tmp_path):
    file = tmp_path / "settings.json"
    file.write_text('[{"window": 10}, {"window": 50}]')
    status, said, _ = memr("replay", "run", "--data", folder, "--preset", "memory-r,random", "--config", file, "--json")
    assert status == 0
    changed = [one["changed"] for one in json.loads(said)["settings"]]
    assert [(one["preset"], one["window"]) for one in changed] == [
        ("memory-r", 10), ("random", 10), ("memory-r", 50), ("random", 50),
    ]  # fmt: skip


def test_a_server_and_a_folder_give_the_same(memr, folder, server):
    answers = []
    for where in (("--data", folder), ("--url", server)):
        status, said, _ = memr("replay", "run", "--k", "1,2", "--json", *where)
        assert status == 0
        result = json.loads(said)
        for one in result["settings"]:
            del one["seconds"]
        answers.append(result)
    assert answers[0] == answers[1]


def test_verify_tells_of_the_first_difference_and_exits_1(memr, folder, tmp_path):
    status, said, _ = memr("verify", "run", "--data", folder)
    assert status == 0
    assert "240 completions in 30 records" in said
    assert "bit for bit" in said
    forge(folder, tmp_path)
    status, said, _ = memr("verify", "forged", "--data", tmp_path)
    assert status == 1
    assert "record 12, item 3 is not reproduced" in said
    assert "rewards: recorded" in said


def test_verify_names_a_damaged_record_exits_1_and_leaves_it_where_it_is(memr, tmp_path):
    with RewardClient.embedded(f"sqlite:///{tmp_path}", encoder="hashed") as client:
        fill(client)
    with closing(sqlite3.connect(tmp_path / "memr.db")) as database:
        ((payload,),) = database.execute("SELECT payload FROM log WHERE position = 12")
        flipped = bytearray(payload)
        flipped[len(flipped) // 2] ^= 1
        database.execute("UPDATE log SET payload = ? WHERE position = 12", (bytes(flipped),))
        database.commit()
    for _ in range(2):
        status, _, complained = memr("verify", "run", "--data", tmp_path)
        assert status == 1
        assert "record 12 (branch 0) of run 'run'" in complained
    with closing(sqlite3.connect(tmp_path / "memr.db")) as database:
        assert database.execute("SELECT count(*) FROM log").fetchone() == (30,)


def forge(folder, target) -> None:
    """A copy of the run in which record 12 has another reward for item 3, with a consistent chain."""
    with closing(open_store(f"sqlite:///{folder}")) as source, closing(open_store(f"sqlite:///{target}")) as copy:
        stored = source.runs.find("run")
        chain, records = None, []
        for one in source.journal.records(stored.uid, [(0, 0, 99)]):
            record = unseal(one.payload)
            if record.position == 12:
                rewards = record.effects.rewards.copy()
                rewards[3] += 0.25
                object.__setattr__(record.effects, "rewards", rewards)
            object.__setattr__(record, "parent", chain or record.parent)
            sealed, payload = seal(record)
            chain = sealed.chain
            records.append((StoredRecord(0, record.position, payload), []))
        restored(copy.runs.restore("forged", stored.config, stored.law, stored.encoder, stored.created_at, records))


def test_wrong_settings_are_explained(memr, folder, tmp_path):
    for options, told in (
        (("--k", "x"), "--k x is not a list of numbers"),
        (("--k", "0"), "k"),
        (("--config", tmp_path / "none.json"), "cannot read"),
        (("--preset", "memoryr"), "Did you mean memory-r?"),
    ):
        status, _, said = memr("replay", "run", "--data", folder, *options)
        assert status == 1
        assert told in said
    status, _, said = memr("verify", "another", "--data", folder)
    assert status == 1
    assert "no run 'another'" in said
    status, _, said = memr("verify", "run", "--data", tmp_path / "nowhere")
    assert status == 1
    assert "no folder" in said


def test_explain_shows_the_sum_and_the_neighbours(memr, server):
    status, said, _ = memr("explain", "run", "--url", server, "--position", 30, "--item", 2, "--neighbours", 3)
    assert status == 0
    for expected in ("after record 29 of run", "exploit", "explore", "success memory", "failure memory", "(the same)"):
        assert expected in said
    assert said.count("it is ") == 6
    asked = ("--prompt", "2 + 3?", "--completion", "it is 5", "--outcome", 1, "--json")
    status, said, _ = memr("explain", "run", "--url", server, *asked)
    assert status == 0
    assert json.loads(said)["completion"] == "it is 5"


def test_a_report_is_a_page_with_two_pictures(memr, server, tmp_path):
    status, said, _ = memr("report", "run", "--url", server, "--dir", tmp_path)
    assert status == 0
    assert "run.md" in said
    page = (tmp_path / "run.md").read_text()
    with RewardClient(server) as client:
        chain = client.run("run").chain
        names = {one.name for one in client.audits("run").audits}
    for expected in ("240 completions", "## Audits", "## Methods", "Memory-R+", chain, *names):
        assert expected in page
    for picture in ("run-curves.png", "run-health.png"):
        assert f"]({picture})" in page
        assert (tmp_path / picture).read_bytes().startswith(PNG)


@pytest.mark.parametrize("command", [("report", "run"), ("replay", "run", "--k", "2", "--figure", "DIR/a.png")])
def test_without_matplotlib_nothing_is_asked_or_written(memr, monkeypatch, tmp_path, command):
    monkeypatch.setattr(figures, "find_spec", lambda name: None)
    monkeypatch.chdir(tmp_path)
    command = [one.replace("DIR", str(tmp_path)) for one in command]
    status, said, problem = memr(*command, "--url", "http://127.0.0.1:9")  # where nothing answers
    assert (status, said) == (1, "")
    for part in (
        "figures need matplotlib",
        "value: matplotlib",
        "limit: the extra `report`",
        "pip install '.[report]'",
    ):
        assert part in problem
    assert not list(tmp_path.iterdir())
