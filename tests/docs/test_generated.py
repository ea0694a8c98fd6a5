"""What the code and the measurements decide stands in the pages as they decide it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from memr_client import errors
from memr_client.schemas import RewardRequest, RewardResponse, RunConfig
from memr_service.app.auth import ROUTES
from memr_service.run.presets import PRESETS
from memr_service.settings import Settings
from support.pages import ROOT

from docs.generate import pages, results


def page(name: str) -> str:
    return (ROOT / "docs/reference" / name).read_text("utf-8")


def first_cells(text: str) -> set[str]:
    """What stands in backticks in the first cell of each line of a table."""
    lines = [line.split(" | ")[0] for line in text.splitlines() if line.startswith("| ")]
    return {named for line in lines for named in re.findall(r"`(.*?)`", line)}


@pytest.mark.parametrize("part", pages.PARTS)
def test_generated_parts_are_as_the_code_and_the_measurements_have_them(part):
    stale = [
        path.relative_to(ROOT).as_posix()
        for path, text in pages.PARTS[part]().items()
        if text != path.read_text("utf-8")
    ]
    assert not stale, f"run `make docs-{part}`: {', '.join(stale)}"


def test_every_generated_part_and_every_table_is_shown_somewhere():
    shown = "\n".join(path.read_text("utf-8") for path in pages.pages())
    for name in pages.BLOCKS:
        assert f"<!-- generated: {name} -->" in shown
    for name in results.names():
        assert f"<!-- table: {name} -->" in shown


def test_a_result_says_where_its_figures_come_from():
    for name in results.names():
        result = results.read(name)
        assert result["rows"]
        assert result["title"]
        assert re.fullmatch(r"[0-9a-f]{7,40}", result["commit"])
        assert isinstance(result["quick"], bool)
        assert result["quick"] == ("QUICK=1" in result["command"] or "--quick" in result["command"])


def commands() -> list[tuple[str, str]]:
    return [(name, word) for name in results.names() for word in re.findall(r"\S+", results.read(name)["command"])]


def test_the_command_of_a_result_exists():
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for name in results.names():
        command = results.read(name)["command"]
        for target in re.findall(r"\bmake (\w[\w-]*)", command):
            assert target in targets, command
        for script in re.findall(r"\bpython (\S+\.py)", command):
            assert (ROOT / script).is_file(), command
        for module in re.findall(r"\bpython -m ([\w.]+)", command):
            at = ROOT / module.replace(".", "/")
            assert at.with_suffix(".py").is_file() or (at / "__main__.py").is_file(), command
        assert re.search(r"\b(?:make|python|memr) ", command), command


def test_a_result_is_written_the_way_it_is_read():
    for path in sorted(Path(results.FOLDER).glob("*.json")):
        result = json.loads(path.read_text("utf-8"))
        fields = ["title", "command", "commit", "machine", "seconds", "quick", "columns", "rows"]
        assert list(result) == fields, path.name


def test_the_fields_of_request_and_response_are_all_there_and_no_others():
    for model in (RewardRequest, RewardResponse):
        section = page("http-api.md").split(f"\n### {model.__name__}\n")[1].split("\n### ")[0]
        assert first_cells(section) == set(model.model_fields)


def test_the_fields_of_a_config_are_all_there_and_no_others():
    section = page("run-config.md").split("\n## Fields\n")[1].split("\n## ")[0]
    assert re.findall(r"^### `(\w+)`$", section, re.MULTILINE) == list(RunConfig.model_fields)


def test_the_routes_are_all_there_and_no_others():
    section = page("http-api.md").split("\n## Routes\n")[1].split("\n## ")[0]
    assert first_cells(section) == {f"{method} {route}" for route, methods in ROUTES.items() for method in methods}


def test_every_problem_is_there_with_its_status():
    told = re.findall(r"^\| `([\w-]+)` \| (\d+) \| `(\w+)` \|", page("errors.md"), re.MULTILINE)
    assert sorted(told) == sorted((slug, str(cls.status), cls.__name__) for slug, cls in errors.PROBLEMS.items())


def test_every_setting_is_there_and_no_others():
    section = page("settings.md").split("\n## ")[0]
    assert first_cells(section) == {f"MEMR_{field.upper()}" for field in Settings.model_fields}


def test_every_preset_is_described_and_spelled_out():
    told, _, spelled = page("presets.md").partition("<!-- generated: presets -->")
    assert first_cells(told) == set(PRESETS)
    assert set(re.findall(r"^## `(.*)`$", spelled, re.MULTILINE)) == set(PRESETS)


def test_everything_that_users_set_is_explained():
    for name in ("run-config.md", "settings.md", "components-and-guards.md"):
        empty = [line for line in page(name).splitlines() if line.startswith("| `") and line.endswith("|  |")]
        assert not empty, f"{name}: {empty}"
