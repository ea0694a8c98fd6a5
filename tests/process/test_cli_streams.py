"""Commands on pipes, full disks and terminals that lack characters: a line and an exit status, never a trace."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from memr_client import RewardClient
from support.serving import serving

LINES = "".join(
    json.dumps({"prompt": f"{n // 4} é?", "completion": f"it is “{n}” 😀", "outcome": n % 2}, ensure_ascii=False) + "\n"
    for n in range(8)
)


def memr(*arguments, shell="{}", **environment):
    """Run `memr` in bash, with `{}` in `shell` replaced by the command; its status, stdout and stderr."""
    command = " ".join(f"'{word}'" if "(" not in str(word) else str(word) for word in arguments)
    line = "set -o pipefail; " + shell.replace("{}", f"'{sys.executable}' -m memr_service {command}")
    done = subprocess.run(["bash", "-c", line], capture_output=True, env=os.environ | environment, timeout=120)
    out, complaint = done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace")
    assert "Traceback" not in complaint
    assert "Exception ignored" not in complaint
    return done.returncode, out, complaint


@pytest.fixture
def rollouts(tmp_path):
    path = tmp_path / "rollouts.jsonl"
    path.write_text(LINES, "utf-8")
    return path


@pytest.fixture(scope="module")
def server():
    with serving() as url:
        with RewardClient(url, run="run") as client:
            client.reward(["2 + 3 é?"] * 4, [f"it is “{n}” 😀" for n in range(4)], [0, 1, 0, 1])
        yield url


@pytest.mark.parametrize(
    ("file", "shell"),
    [
        ("<(cat {path})", "{}"),
        ("<(gzip -c {path})", "{}"),
        ("-", "cat '{path}' | {}"),
        ("-", "{} < '{path}'"),
        ("/dev/stdin", "cat '{path}' | {}"),
    ],
)
def test_rollouts_that_can_be_read_once_are_all_scored(rollouts, tmp_path, file, shell):
    out = tmp_path / "out.jsonl"
    shell = shell.replace("{path}", str(rollouts))
    status, _, _ = memr("score", file.format(path=rollouts), "--encoder", "hashed", "--out", out, shell=shell)
    assert status == 0
    assert [json.loads(line)["line"] for line in out.read_text().splitlines()] == list(range(1, 9))


def test_a_config_may_come_from_a_pipe(rollouts):
    config = """<(echo '{"k": 0}')"""
    status, _, complaint = memr("score", rollouts, "--encoder", "hashed", "--config", config)
    assert status == 1
    assert "k is 0" in complaint


def test_a_bad_line_of_a_pipe_is_named_and_nothing_is_written(tmp_path):
    out = tmp_path / "out.jsonl"
    status, _, complaint = memr("score", "<(echo nonsense)", "--encoder", "hashed", "--out", out)
    assert (status, out.exists()) == (1, False)
    assert "line 1 of /dev/fd/" in complaint


@pytest.mark.parametrize("encoding", [{"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "PYTHONUTF8": "0"}, {}])
@pytest.mark.parametrize("command", [["explain", "run", "--position", "1", "--item", "0"], ["runs", "list"], ["-h"]])
def test_characters_that_a_terminal_lacks_are_escaped(server, encoding, command):
    status, out, _ = memr(*command, MEMR_URL=server, PYTHONCOERCECLOCALE="0", **encoding)
    assert status == 0
    assert out
    if encoding:
        out.encode("ascii")


def test_json_stays_json_where_a_terminal_lacks_characters(server):
    command = ["explain", "run", "--position", "1", "--item", "0", "--json"]
    _, plain, _ = memr(*command, MEMR_URL=server, PYTHONIOENCODING="ascii")
    _, whole, _ = memr(*command, MEMR_URL=server, PYTHONIOENCODING="utf-8")
    assert json.loads(plain.encode("ascii")) == json.loads(whole)
    assert "“" in json.loads(plain)["completion"]


FULL = Path("/dev/full")


@pytest.mark.skipif(not FULL.exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("command", [["runs", "list"], ["runs", "show", "run"], ["runs", "history", "run"], ["-h"]])
def test_a_full_disk_is_told_of_and_the_status_is_1(server, command):
    status, _, complaint = memr(*command, shell="{} > /dev/full", MEMR_URL=server)
    assert status == 1
    assert complaint == "error: the output cannot be written: No space left on device\n"


@pytest.mark.parametrize("shell", ["{} >&-", "{} 2>&-", "{} 2>/dev/full"])
def test_closed_streams_do_no_harm(server, shell):
    assert memr("runs", "list", shell=shell, MEMR_URL=server)[0] == 0


def test_a_reader_that_leaves_ends_the_command_quietly(server):
    command = ["runs", "show", "run"]
    status, _, complaint = memr(*command, shell="{} | (exec 0<&-; sleep 3)", MEMR_URL=server)
    assert (status, complaint) == (1, "")


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (["runs", "export", "run", "/dev/null"], "/dev/null is not a regular file"),
        (["runs", "export", "run", "/none/run.memr"], "the folder /none does not exist"),
        (["replay", "run", "--figure", "/none/sweep.png"], "the folder /none does not exist"),
        (["replay", "run", "--figure", "sweep.pdf"], "sweep.pdf does not end in .png"),
        (["report", "run", "--dir", "/dev/null/report"], "/dev/null/report: Not a directory"),
        (["watch", "run", "--once", "--dir", "/dev/null/watch"], "/dev/null/watch: Not a directory"),
    ],
)
def test_an_output_that_cannot_be_written_is_named(server, command, says):
    status, _, complaint = memr(*command, MEMR_URL=server)
    assert status == 1
    assert f"error: {says}" in complaint


def test_a_link_stays_a_link_and_the_file_it_names_is_written(rollouts, tmp_path):
    (tmp_path / "far").mkdir()
    link, target = tmp_path / "out.jsonl", tmp_path / "far/out.jsonl"
    link.symlink_to(target)
    assert memr("score", rollouts, "--encoder", "hashed", "--out", link)[0] == 0
    assert link.is_symlink()
    assert len(target.read_text().splitlines()) == 8


def test_a_compressed_file_is_read(tmp_path):
    path = tmp_path / "rollouts.jsonl.gz"
    path.write_bytes(gzip.compress(LINES.encode()))
    assert memr("score", path, "--encoder", "hashed", "--preset", "memory-r")[0] == 0
