"""Every block of code of every page: run, parsed, or checked as far as it can be (see `support.pages`)."""

from __future__ import annotations

import ast
import contextlib
import gc
import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from memr_client import RewardClient
from memr_client.schemas import RewardResponse
from support import commands, stand_ins
from support.pages import ROOT, URL, Block, blocks, every_block, name, pages

try:
    import tomllib
except ImportError:  # Python 3.10
    import tomli as tomllib

PARSERS = {"json": json.loads, "yaml": yaml.safe_load, "toml": tomllib.loads}
SHOWN = ("text", "md", "http", "promql", "nginx", "ini")
"""Languages of blocks that are only looked at."""
KNOWN = {"python", "bash", "sh", *PARSERS, *SHOWN}
NOT_RUN = [block for block in every_block() if block.kind in ("not run", "run by")]
TEXTS = [block for block in every_block() if block.language == "text" and block.kind not in ("output", "generated")]


@pytest.mark.filterwarnings(
    "ignore:memr. run .* has barrier 'snapshot'",  # what a page says in words
    "ignore:.*unclosed <socket:pytest.PytestUnraisableExceptionWarning",  # pages close no client
    "ignore:unclosed <socket:ResourceWarning",
)
@pytest.mark.parametrize("page", [page for page in pages() if any(block.runs for block in blocks(page))], ids=name)
def test_the_blocks_of_a_page_run(page, server, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for module, stand_in in stand_ins.of(name(page)).items():
        monkeypatch.setitem(sys.modules, module, stand_in)
    names: dict[str, Any] = {}
    printed = [""]
    for block in blocks(page):
        if block.runs:
            close_connections(names)
            text = block.text.replace(URL, server)
            printed.append(run_python(block, text, names) if block.language == "python" else run_bash(block, text))
        elif block.kind == "output":
            assert_printed(block, printed[-1])
    stand_ins.check(name(page), names, printed, server)
    close_connections(names)
    names.clear()
    gc.collect()  # what a page leaves open is told of here, and in no other test


def close_connections(names: dict[str, Any]) -> None:
    """Close the clients among the names, also those of reward functions; one over HTTP opens new connections."""
    for one in names.values():
        client = getattr(one, "client", one)
        if isinstance(client, RewardClient) and client.url != "http://embedded":
            client.close()


def run_python(block: Block, text: str, names: dict[str, Any]) -> str:
    """Run a block of Python among the names of the page; what it printed."""
    said = io.StringIO()
    code = compile("\n" * (block.line - 1) + text, str(ROOT / block.page), "exec")
    with contextlib.redirect_stdout(said):
        exec(code, names)
    promised = re.findall(r"^print\(.*\)  # (.*)$", text, re.MULTILINE)
    for told, shown in zip(promised, said.getvalue().splitlines(), strict=False):
        assert ast.literal_eval(shown) == pytest.approx(ast.literal_eval(told), abs=0.011), str(block)
    return said.getvalue()


def run_bash(block: Block, text: str) -> str:
    """Run a block in bash, in the folder of the page; what it printed."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    run = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", text],
        env=os.environ | {"PATH": path, "COLUMNS": "120"}, capture_output=True, text=True,
    )  # fmt: skip
    assert run.returncode == 0, f"{block}\n{text}{run.stdout}{run.stderr}"
    assert "urn:memr:problem:" not in run.stdout, f"{block}\n{run.stdout}"
    for line in run.stdout.splitlines():
        if line.startswith('{"run_id":') and '"rewards":' in line:
            response = RewardResponse.model_validate_json(line)
            assert len(response.rewards) == len(response.support.success) > 0
    return run.stdout


def assert_printed(block: Block, printed: str) -> None:
    """Compare a block with what was printed; ... stands for anything."""
    pattern = ".*?".join(map(re.escape, block.text.strip().split("...")))
    assert re.fullmatch(pattern, printed.strip(), re.DOTALL), f"{block} says\n{block.text}\nbut printed was\n{printed}"


@pytest.mark.parametrize("block", every_block(), ids=str)
def test_a_block_has_a_language_and_says_why_it_is_not_run(block):
    if block.language.startswith("{"):  # a directive of Sphinx, which its build checks
        return
    assert block.language in KNOWN
    if block.language == "sh" and block.kind != "run by":
        assert block.kind == "not run", (
            "a block of sh is shown only: say why, <!-- not run: REASON -->, or make it bash"
        )
    if block.kind == "not run":
        assert len(block.about) > 5
    if block.kind == "run by":
        test = (ROOT / block.about).read_text("utf-8")
        assert Path(block.page).name in test, f"{block.about} does not read {block.page}"


@pytest.mark.parametrize("block", [block for block in every_block() if block.language in PARSERS], ids=str)
def test_data_can_be_read(block):
    assert PARSERS[block.language](block.text) is not None


@pytest.mark.parametrize("block", [block for block in every_block() if block.language in ("bash", "sh")], ids=str)
def test_commands_name_what_exists(block):
    commands.check(block.text)


def test_the_examples_of_the_command_line_exist():
    for block in blocks(ROOT / "docs/reference/cli.md"):
        commands.check("\n".join(line for line in block.text.splitlines() if line.startswith("memr ")))


def test_python_that_is_not_run_is_python_and_imports_what_exists():
    for block in NOT_RUN:
        if block.language == "python":
            ast.parse(block.text)
            commands.check_imports(block.text)


@pytest.mark.parametrize("block", TEXTS, ids=str)
def test_a_text_is_a_picture_and_not_what_a_command_printed(block):
    lines = block.text.splitlines()
    assert not [line for line in lines if line.startswith(("$ ", ">>> ", "memr ", "curl ", "make ", "python "))]
    folder = Path()
    for line in lines:
        if found := re.match(r"( *)((?:[\w.-]+/)+|[\w-]+\.\w+)(?:\s|$)", line):
            folder = Path(found[2]) if not found[1] else folder
            if (ROOT / folder).is_dir():
                place = ROOT / folder if not found[1] else ROOT / folder / found[2]
                assert place.exists(), f"there is no {place.relative_to(ROOT)}"


def test_most_blocks_run():
    shell = [
        block for block in every_block() if block.language in ("bash", "sh", "python") and block.kind != "generated"
    ]
    assert sum(block.runs or block.kind == "run by" for block in shell) >= len(shell) / 2
