"""Ctrl-C ends every command at once: exit status 130, no trace, no half-written file."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from memr_service.__main__ import main

pytestmark = pytest.mark.slow

ENDS_S = 30


def heeds_ctrl_c():
    """In a child before it runs: a shell in the background starts its commands so that they ignore it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def stopped(arguments, folder, seen):
    """Start a command and interrupt it once `seen()` is true; its status and output."""
    with subprocess.Popen(
        [sys.executable, "-m", "memr_service", *arguments],
        cwd=folder,
        env=os.environ | {"MEMR_ENCODER": "hashed"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=heeds_ctrl_c,
    ) as process:
        ends = time.monotonic() + ENDS_S
        while not seen() and time.monotonic() < ends:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        try:
            said, _ = process.communicate(timeout=ENDS_S)
        finally:
            process.kill()
    assert "Traceback" not in said
    assert "Exception" not in said
    return process.returncode, said


@pytest.fixture
def rollouts(tmp_path):
    path = tmp_path / "rollouts.jsonl"
    lines = ({"prompt": f"question {n // 4}", "completion": f"answer {n}", "outcome": n % 2} for n in range(40_000))
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_ctrl_c_before_the_command_runs_ends_it_in_the_same_way(monkeypatch):
    def interrupted():
        raise KeyboardInterrupt

    monkeypatch.setattr("memr_service.cli.commands.run", interrupted)
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 130


def test_ctrl_c_while_an_object_is_removed_is_not_lost():
    """Python ignores exceptions there, and with them a Ctrl-C."""
    code = """
import signal, time
from memr_service import __main__, cli
from memr_service.cli import commands

class Removed:
    def __del__(self):
        signal.raise_signal(signal.SIGINT)

def run():
    Removed()
    time.sleep(20)

commands.run = run
__main__.main()
"""
    began = time.monotonic()
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, preexec_fn=heeds_ctrl_c)
    assert (done.returncode, done.stderr) == (130, "")
    assert time.monotonic() - began < 15


def test_a_long_score_leaves_no_file(rollouts, tmp_path):
    partial = tmp_path / "out.jsonl.partial"
    command = ["score", rollouts.name, "--presets", "memory-r+", "--out", "out.jsonl"]
    status, _ = stopped(command, tmp_path, seen=lambda: partial.exists() and partial.stat().st_size)
    assert status == 130
    assert list(tmp_path.iterdir()) == [rollouts]
