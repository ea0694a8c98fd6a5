"""The examples run as their docstrings say."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from support.serving import serving

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="module")
def server():
    with serving() as url:
        yield url


def run(name, *arguments):
    command = [sys.executable, EXAMPLES / name, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_plain_http_gets_rewards_a_replay_and_a_problem(server):
    first, again, refused = run("plain_http.py", "--url", server)
    assert first.split()[1:-1] == again.split()[1:-1]
    assert (first.split()[-1], again.split()[-1]) == ("false", "true")
    assert refused.startswith("422 ")


def test_the_client_example_gets_rewards_for_each_step_and_a_conflict(server):
    *steps, stored, refused = run("client.py", "--url", server)
    assert [step.partition(":")[0] for step in steps] == ["step 0", "step 1", "step 2"]
    assert stored.startswith("stored: 5 right, 4 wrong")
    assert refused.startswith("refused: ")


@pytest.mark.parametrize("unit", ["turn", "whole"])
def test_the_policy_of_the_episodes_learns_to_look_up_the_height(unit):
    first, *_, last = run("episodes.py", "--unit", unit)
    assert float(first.split()[-2]) < 0.9 < float(last.split()[-2])


def test_the_embedded_example_remembers_across_clients():
    *rewards, parts, later = run("embedded.py", "--encoder", "hashed")
    assert len(rewards) == 3
    assert parts.startswith("raw components:")
    assert later.startswith("a day later: exploit -")


def test_offline_scoring_tells_right_from_wrong(tmp_path):
    right, wrong = run("offline_scoring.py", "--encoder", "hashed")
    assert right.startswith("right: 43 completions")
    assert float(right.split()[-1]) > float(wrong.split()[-1])


def test_offline_scoring_reads_a_users_file(tmp_path):
    path = tmp_path / "rollouts.jsonl"
    lines = [{"prompt": "q", "completion": "a", "outcome": 1}, {"prompt": "q", "completion": "b", "outcome": 0}]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    right, _ = run("offline_scoring.py", "--encoder", "hashed", "--rollouts", str(path))
    assert right.startswith("right: 1 completions")


def test_every_example_is_run_by_a_test():
    tested = "".join(path.read_text("utf-8") for path in Path(__file__).parents[1].rglob("test_*.py"))
    assert [path.name for path in EXAMPLES.glob("*.py") if f'"{path.name}"' not in tested] == []
