"""The commands as a user calls them."""

from __future__ import annotations

import hashlib
import io
import json
import re
import subprocess
import sys
from importlib.metadata import version

import pytest
from memr_client import RewardClient
from memr_service.__main__ import main
from memr_service.app.auth import Keys
from memr_service.cli import terminal
from memr_service.run.presets import PRESETS
from memr_service.settings import Settings
from starlette.datastructures import Headers
from support.serving import serving

ROLLOUTS = [
    {"prompt": f"{n} + {n} = ?", "completion": f"{n} + {n} is {n + n + off}", "outcome": int(off == 0), "step": n}
    for n in range(3)
    for off in (0, 1, 0, 2)
]


@pytest.fixture
def memr(monkeypatch, capsys):
    """Runs `memr ARGS`; gives (exit status, stdout, stderr)."""

    def run(*arguments, width=120):
        monkeypatch.setattr(sys, "argv", ["memr", *map(str, arguments)])
        monkeypatch.setattr(terminal.out, "width", width)
        with pytest.raises(SystemExit) as stop:
            main()
        return stop.value.code or 0, *capsys.readouterr()

    return run


@pytest.fixture(scope="module")
def server():
    with serving() as url:
        yield url


@pytest.fixture
def rollouts(tmp_path):
    path = tmp_path / "rollouts.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in ROLLOUTS))
    return path


CHECKPOINTS = [f"checkpoint {verb}" for verb in ("create", "list", "delete")]
RUNS = ["list", "show", "delete", "export", "import", "restore", "fork", "history", *CHECKPOINTS]
ASKING = ["watch", "calibrate", "explain", "replay", "verify", "report"]
COMMANDS = ["serve", "demo", "doctor", "key", "score", *ASKING, *(f"runs {verb}" for verb in RUNS)]


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_every_command_shows_how_it_is_typed(memr, command):
    status, said, _ = memr(*command.split(), "--help")
    assert status == 0
    assert f"  memr {command}" in said


def test_the_version_is_shown(memr):
    assert memr("--version") == (0, f"memr {version('memr')}\n", "")


def test_help_names_the_defaults_that_apply(memr):
    _, serve, _ = memr("serve", "--help")
    _, score, _ = memr("score", "--help")
    assert "Redis" in serve
    for said, setting in ((serve, "port"), (serve, "host"), (score, "default_preset")):
        assert f"default: ({Settings.model_fields[setting].default})" in said


def test_memr_alone_names_every_command(memr):
    _, said, _ = memr()
    assert all(command.split()[0] in said for command in COMMANDS)


def test_score_prints_a_summary_and_writes_every_reward_in_file_order(memr, rollouts, tmp_path):
    status, said, _ = memr("score", rollouts, "--encoder", "hashed", "--out", tmp_path / "rewards.jsonl")
    rows = [json.loads(line) for line in (tmp_path / "rewards.jsonl").read_text().splitlines()]
    assert status == 0
    assert "exploit raw" in said
    assert [row["line"] for row in rows] == list(range(1, 13))
    assert [row["completion"] for row in rows] == [line["completion"] for line in ROLLOUTS]
    assert all(isinstance(row["reward"], float) for row in rows)


def test_score_takes_its_config_from_file_and_options(memr, rollouts, tmp_path):
    (tmp_path / "config.json").write_text('{"k": 2, "explore_warmup_steps": 0, "encoder": "hashed"}')
    status, said, _ = memr("score", rollouts, "--config", tmp_path / "config.json", "--preset", "memory-r")
    assert status == 0
    assert "exploit raw" in said
    assert "explore" not in said


def test_score_sets_presets_side_by_side(memr, rollouts, tmp_path):
    _, every, _ = memr("score", rollouts, "--encoder", "hashed")
    _, two, _ = memr("score", rollouts, "--encoder", "hashed", "--presets", "random,memory-r", "--preset", "memory-r")
    _, one, _ = memr("score", rollouts, "--encoder", "hashed", "--preset", "memory-r")
    _, most, _ = memr("score", rollouts, "--encoder", "hashed", "--presets", "all", "--preset", "memory-r")
    status, said, complaint = memr("score", rollouts, "--encoder", "hashed", "--presets", "memoryr")
    assert all(f"\n{name} " in every for name in [*PRESETS, "your outcomes"])
    assert "\nrandom " in two
    assert "\nshuffled " not in two
    assert "Rewards under each preset" not in one
    assert "under memory-r\n" in most
    assert "\nofficial-memory-r+ " in most
    assert (status, said) == (1, "")
    assert "no preset 'memoryr'" in complaint
    assert "Did you mean memory-r?" in complaint


def test_score_names_a_bad_line_before_it_scores_any(memr, rollouts, tmp_path):
    rollouts.write_text(rollouts.read_text() + '{"prompt": "q"}\n')
    status, said, complaint = memr("score", rollouts, "--encoder", "hashed", "--out", tmp_path / "rewards.jsonl")
    assert (status, said) == (1, "")
    assert "line 13" in complaint
    assert "remedy:" in complaint
    assert not (tmp_path / "rewards.jsonl").exists()


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["score", "nothing.jsonl"], "cannot read nothing.jsonl"),
        (["score", "nothing.jsonl", "--k", "0"], "k is 0, but must be at least 1"),
        (["score", "nothing.jsonl", "--config", "nothing.json"], "cannot read nothing.json: No such file"),
        (["serve", "--host", "0.0.0.0"], "without API keys"),
        (["serve", "--port", "70000"], "port is 70000: it should be less than or equal to 65535"),
        (["runs", "list", "--url", "http://127.0.0.1:9"], "memr serve"),
    ],
)
def test_an_error_is_one_line_and_not_a_trace(memr, arguments, complaint):
    status, _, said = memr(*arguments)
    assert status == 1
    assert said.startswith("error: ")
    assert complaint in said
    assert "Traceback" not in said


def test_an_unknown_run_and_a_missing_key_are_told_what_to_do_here(memr, server, tmp_path):
    status, _, said = memr("runs", "show", "nobody", "--url", server)
    assert status == 1
    assert "remedy: `memr runs list`" in said
    _, entry = memr("key", "--name", "me", "--runs", "mine-")[1].splitlines()
    (tmp_path / "keys.json").write_text(f"[{entry}]")
    with serving("--keys-file", str(tmp_path / "keys.json"), api_key="unused") as url:
        status, _, said = memr("runs", "list", "--url", url)
    assert status == 1
    assert "--api-key" in said
    assert "MEMR_API_KEY" in said


@pytest.mark.parametrize("arguments", [["--name", ""], ["--name", "a" * 200], ["--name", "a", "--runs", "al/"]])
def test_a_key_that_no_server_would_take_is_not_made(memr, arguments):
    status, said, _ = memr("key", *arguments)
    assert (status, said) == (1, "")


def test_explain_says_what_it_needs(memr):
    status, _, said = memr("explain", "run", "--position", "1")
    assert status == 2
    assert "--position and --item" in said


@pytest.mark.parametrize("width", [80, 120])
def test_every_date_name_and_figure_of_a_list_is_whole(memr, server, width):
    name = "gsm8k-qwen2.5-1.5b-instruct-seed0"
    with RewardClient(server, run=name) as client:
        for step in range(3):
            client.reward(["q"] * 4, ["a", "b", "c", "d"], [1, 0, 1, 0], step=step)
        created = client.run().created_at[:16].replace("T", " ")
    _, listed, _ = memr("runs", "list", "--url", server, width=width)
    _, swept, _ = memr("replay", name, "--k", "1,5,10,20", "--url", server, width=width)
    assert created in listed
    assert name in listed
    assert swept.count("k 20") == (1 if width == 120 else 2), swept
    assert not re.search(r"…|\.\.\.", listed + swept)
    with RewardClient(server) as client:
        for one in client.replay(name, [{"k": k} for k in (1, 5, 10, 20)]).settings:
            figures = (one.correlation, one.scored.reward.mean, one.scored.raw["exploit"].std)
            assert {f"{figure:.3f}" for figure in figures} <= set(swept.split())


def test_an_empty_file_of_rollouts_is_refused(memr, rollouts):
    rollouts.write_text("\n")
    status, _, complaint = memr("score", rollouts)
    assert status == 1
    assert "has no rollouts" in complaint


def test_a_new_key_opens_what_its_entry_says(memr, tmp_path):
    _, said, _ = memr("key", "--name", "alice", "--scope", "read", "--runs", "alice-")
    secret, entry = said.splitlines()
    (tmp_path / "keys.json").write_text(f"[{entry}]")
    caller = Keys.read(tmp_path / "keys.json").caller(Headers({"authorization": f"Bearer {secret}"}))
    assert (caller.name, caller.scope, caller.runs) == ("alice", "read", "alice-")
    assert caller.sha256 == hashlib.sha256(secret.encode()).hexdigest()
    assert secret not in entry


def test_no_two_keys_are_alike(memr):
    assert memr("key", "--name", "a")[1] != memr("key", "--name", "a")[1]


def test_runs_are_listed_and_shown(memr, server):
    with RewardClient(server) as client:
        client.reward(["q"] * 2, ["a", "b"], [1, 0], run_id="listed", step=4)
    _, listed, _ = memr("runs", "list", "--url", server)
    _, shown, _ = memr("runs", "show", "listed", "--digest", "--url", server)
    assert "listed" in listed
    assert json.loads(shown)["memory"]["failure"] == {"prompts": 1, "completions": 1}
    assert len(json.loads(shown)["digest"]) == 64


def test_a_run_is_exported_and_imported_under_another_name(memr, server, tmp_path):
    with RewardClient(server) as client:
        client.reward(["q"] * 2, ["a", "b"], [1, 0], run_id="original")
        memr("runs", "export", "original", tmp_path / "run.memr", "--url", server)
        status, _, _ = memr("runs", "import", tmp_path / "run.memr", "copy", "--url", server)
        assert status == 0
        assert client.run("copy").memory == client.run("original").memory


def test_delete_asks_first(memr, server, monkeypatch):
    with RewardClient(server) as client:
        for answer, left in (("n", True), ("y", False)):
            client.create_run("precious")
            monkeypatch.setattr("sys.stdin", io.StringIO(answer + "\n"))
            status, said, _ = memr("runs", "delete", "precious", "--url", server)
            assert "Delete run precious with 0 records and 0 completions?" in said
            assert (status == 1) is left
            assert ("precious" in [run.run_id for run in client.runs()]) is left


def test_delete_does_not_ask_with_yes(memr, server, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    with RewardClient(server) as client:
        client.create_run("junk")
        assert memr("runs", "delete", "junk", "--url", server, "--yes")[0] == 0
        assert "junk" not in [run.run_id for run in client.runs()]


def test_a_run_goes_back_to_a_checkpoint_and_is_copied_from_it(memr, server):
    with RewardClient(server, run="travelled") as client:
        client.reward(["q"], ["a"], [1], step=0)
        assert memr("runs", "checkpoint", "create", "travelled", "start", "--step", "0", "--url", server)[0] == 0
        start = client.run(digest=True)
        client.reward(["q"], ["b"], [0], step=1)
        _, listed, _ = memr("runs", "checkpoint", "list", "travelled", "--url", server)
        _, restored, _ = memr("runs", "restore", "travelled", "start", "--url", server)
        _, forked, _ = memr("runs", "fork", "travelled", "travelled-twin", "--checkpoint", "start", "--url", server)
        assert "start" in listed
        assert "to start: position 1 on branch 1 (before: position 2 on branch 0)" in restored
        assert "travelled-twin is a copy of travelled at position 1" in forked
        assert client.run(digest=True).digest == client.run("travelled-twin", digest=True).digest == start.digest
        assert memr("runs", "checkpoint", "delete", "travelled", "start", "--url", server)[0] == 0
        assert client.checkpoints() == []


def test_an_unknown_checkpoint_is_named_with_the_known_ones(memr, server):
    with RewardClient(server) as client:
        client.create_run("lost")
        client.create_checkpoint("lost", "here")
    status, _, complaint = memr("runs", "restore", "lost", "there", "--url", server)
    assert status == 1
    assert "no checkpoint 'there'" in complaint
    assert "limit: ['here']" in complaint


def test_a_history_is_shown_as_a_table_and_written_as_json(memr, server):
    with RewardClient(server, run="told") as client:
        for step in range(4):
            client.reward(["q"] * 2, ["a", f"b{step}"], [1, 0], step=step)
    _, shown, _ = memr("runs", "history", "told", "--last", "2", "--url", server)
    _, written, _ = memr("runs", "history", "told", "--last", "0", "--json", "--url", server)
    rows = [json.loads(line) for line in written.splitlines()]
    assert [line.split()[0] for line in shown.splitlines() if line[:1].isdigit()] == ["2", "3"]
    assert "exploit" in shown
    assert [row["step"] for row in rows] == [0, 1, 2, 3]
    assert rows[3]["memory"]["failure"] == {"prompts": 1, "completions": 4}


def test_calibrate_prints_limits_their_rejections_and_a_config_for_the_next_run(memr, server):
    with RewardClient(server, run="calibrated") as client:
        for n in range(60):
            prompt, off = f"how much are {n} and {n} apples?", [0, 1, 0, 0, 2, 0, 0, 0]
            said = [f"{n} and {n} apples are {n + n + error} apples, by counting {i}" for i, error in enumerate(off)]
            client.reward([prompt] * 8, said, [error == 0 for error in off], step=n)
        status, shown, _ = memr("calibrate", "calibrated", "--url", server)
        _, written, _ = memr("calibrate", "calibrated", "--json", "--url", server)
        found = json.loads(written)
        assert status == 0
        assert "360 right and 120 wrong completions" in shown
        assert [one["setting"] for one in found["proposals"]][:2] == ["topic_floor", "min_chars"]
        assert all(f"- {one['setting']}: {one['why']}"[:70] in shown for one in found["proposals"][:4])
        assert json.loads(shown[shown.index("\n{") :]) == found["config"]
        assert client.create_run("next", **found["config"]).config.components["explore"].guards.min_chars == 42 // 2
        client.reward(["q"], ["a"], [1], run_id="short")
    status, _, complaint = memr("calibrate", "short", "--url", server)
    assert status == 1
    assert "1 right completions so far, too few" in complaint
    assert "limit: 200" in complaint


def test_a_key_of_the_environment_is_used(memr, tmp_path, monkeypatch):
    secret, entry = memr("key", "--name", "me", "--scope", "admin")[1].splitlines()
    (tmp_path / "keys.json").write_text(f"[{entry}]")
    with serving("--keys-file", str(tmp_path / "keys.json"), api_key=secret) as url:
        without, _, complaint = memr("runs", "list", "--url", url)
        monkeypatch.setenv("MEMR_API_KEY", secret)
        with_key, _, _ = memr("runs", "list", "--url", url)
    assert (without, with_key) == (1, 0)
    assert "key" in complaint


def test_the_demo_plays_and_explains(memr):
    status, said, _ = memr("demo", "--encoder", "hashed")
    assert status == 0
    assert "96 model solutions of 24 GSM8K questions" in said
    assert "How to read the table" in said


@pytest.mark.parametrize("module", ["typer", "hnswlib", "fastapi"])
def test_without_the_service_one_line_says_what_to_install(module):
    code = f"""import sys; sys.modules[{module!r}] = None; sys.argv = ["memr", "demo", "--encoder", "hashed"]
from memr_service.__main__ import main; main()"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.returncode == 1
    assert run.stderr == f"memr: the command line needs {module}: pip install '.[service]' in a clone of memr\n"
