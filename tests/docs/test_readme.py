"""The README tells the truth: its code runs, its lists are complete, its figures come out."""

from __future__ import annotations

import ast
import contextlib
import io
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest
from memr_client import RewardClient, errors
from memr_client.schemas import RewardRequest, RewardResponse
from memr_service.app.auth import ROUTES
from memr_service.settings import Settings
from support.serving import serving

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")
URL = "http://127.0.0.1:8000"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def section(title: str) -> str:
    return README.split(f"\n## {title}\n")[1].split("\n## ")[0]


@pytest.fixture(scope="module", autouse=True)
def as_users_have_it():
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MEMR_DEFAULT_PRESET")
        yield


@pytest.fixture(scope="module")
def server():
    with serving() as url:
        yield url


def test_the_first_block_gives_the_rewards_it_says():
    code = blocks("python")[0]
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        exec(code, names := {})
    names["client"].close()
    promised = ast.literal_eval(code.rpartition("# ")[2])
    assert ast.literal_eval(said.getvalue()) == pytest.approx(promised, abs=0.011)


def test_the_trl_block_rewards_in_training_and_leaves_no_trace_in_evaluation(server):
    def correctness(completions, answer, **columns):
        return [float(completion.endswith(known)) for completion, known in zip(completions, answer, strict=True)]

    names = {"correctness": correctness, "GRPOTrainer": lambda *_, **given: SimpleNamespace(**given)}
    exec(blocks("python")[1].replace(URL, server), names)
    correct, memory = names["trainer"].reward_funcs
    logged = {}
    batch = {
        "prompts": ["2 + 3 = ?"] * 3,
        "completions": ["It is 5", "2 + 3 is 5", "It is 6"],
        "answer": ["5"] * 3,
        "trainer_state": SimpleNamespace(global_step=4),
        "log_metric": logged.__setitem__,
        "completion_ids": [],
    }
    assert correct(**batch) == [1, 1, 0]
    assert len(memory(**batch)) == 3
    with memory.evaluating():
        assert len(memory(**batch)) == 3
    memory.client.close()
    with RewardClient(server, run="gsm8k-seed0") as client:
        assert client.run().position == 1
        assert client.run().step == 4
    assert {"memory/exploit", "memory/seconds", "memory/support_failure"} <= logged.keys()


@pytest.fixture(scope="module")
def shell(server, tmp_path_factory):
    """What each bash block printed, run one after the other in one folder."""
    folder = tmp_path_factory.mktemp("readme")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    printed = []
    for block in blocks("bash"):
        run = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", block.replace(URL, server)],
            cwd=folder, env=os.environ | {"PATH": path, "COLUMNS": "120"}, capture_output=True, text=True,
        )  # fmt: skip
        assert run.returncode == 0, block + run.stderr
        printed.append(run.stdout)
    return printed


def test_the_curl_line_is_answered_with_rewards(shell):
    answer = RewardResponse.model_validate_json(shell[0])
    assert len(answer.rewards) == 3
    assert answer.memory.success.completions == 2


def test_the_table_of_aucs_is_what_the_commands_print(shell):
    printed = re.findall(r"│ (exploit|explore) raw .*│ +([\d.]+) │ +\d+ │", shell[1])
    cells = re.findall(r"\| ([\d.]+) \| ([\d.]+) \|\n", section("Your own rollouts, before you train on them"))
    assert [name for name, _ in printed] == ["exploit", "explore"] * 2
    assert [float(value) for _, value in printed] == pytest.approx([float(x) for row in cells for x in row], abs=0.02)


def test_make_serve_is_what_the_text_says():
    makefile = (ROOT / "Makefile").read_text()
    assert re.search(r"^serve:.*\n\t\$\(BIN\)/memr serve$", makefile, re.MULTILINE)
    assert f"http://{Settings.model_fields['host'].default}:{Settings.model_fields['port'].default}" == URL
    assert "sqlite:///" + re.search(r"\(default `(.*?)`\)", section("Operations"))[1] == Settings().store


def test_every_make_target_exists():
    targets = set(re.findall(r"^(?:\w+=\S+ )?make ([\w-]+)", "\n".join(blocks("sh")), re.MULTILINE))
    assert targets <= set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert {"setup", "test", "lint", "demo", "serve"} <= targets


def named_in(text: str) -> set[str]:
    return set(re.findall(r"`([\w./{}$ -]+?)`", text))


def first_cells(text: str) -> set[str]:
    return named_in("\n".join(line.split("|")[1] for line in text.splitlines() if line.startswith("| ")))


def test_the_fields_of_request_and_answer_are_all_there_and_no_others():
    takes, _, rest = section("The wire").partition("and answers:")
    answers = rest.partition("| route |")[0]
    assert first_cells(takes) == set(RewardRequest.model_fields)
    assert first_cells(answers) == set(RewardResponse.model_fields)


def test_the_routes_are_all_there_and_no_others():
    told = first_cells(section("The wire").partition("| route |")[2])
    assert told == {f"{method} {route}" for route, methods in ROUTES.items() for method in methods}


def test_every_status_of_an_error_is_named():
    told = section("The wire").rpartition("(RFC 9457)")[2]
    statuses = {int(status) for status in re.findall(r"\b[45]\d\d\b", told)}
    assert statuses == {problem.status for problem in errors.PROBLEMS.values()}


def test_every_setting_is_there_and_no_others():
    told = {name for name in first_cells(section("Operations")) if name.startswith("MEMR_")}
    assert told == {f"MEMR_{field.upper()}" for field in Settings.model_fields}


def test_the_metrics_are_those_of_a_server(server):
    told = named_in(section("Operations").partition("**Metrics**")[2]) - {"/metrics"}
    with RewardClient(server) as client:
        client.reward(["q"], ["a"], [1], run_id="metrics")
    shown = set(re.findall(r"^# TYPE (memr_\w+) ", httpx.get(f"{server}/metrics").text, re.MULTILINE))
    assert told == {name for name in shown if not name.endswith("_created")}


def test_the_tree_is_the_repositorys():
    told, folder = set(), Path()
    for line in blocks("text")[0].splitlines():
        name = line.split()[0]
        if not line.startswith(" "):
            folder = Path(name)
        told.add((folder / name if line.startswith(" ") else folder).as_posix())
    packages = ("client/memr_client", "service/memr_service")
    files = {path.relative_to(ROOT).as_posix() for package in packages for path in (ROOT / package).iterdir()}
    passed_over = ("__init__.py", "__main__.py", "__pycache__", "py.typed")
    expected = {name for name in files if not name.endswith(passed_over)}
    assert told == expected | {*packages, "examples", "benchmarks", "docker", "docs", "tests"}


def test_links_inside_the_readme_lead_somewhere():
    titles = re.findall(r"^## (.*)$", README, re.MULTILINE)
    headings = {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}
    assert set(re.findall(r"\]\(#(.*?)\)", README)) <= headings


def test_files_that_the_readme_names_exist():
    for name in ("openapi.json", "compose.yaml", "constraints.txt", "CITATION.cff", "docker/compose.keys.yaml"):
        assert name in README
        assert (ROOT / name).is_file()
