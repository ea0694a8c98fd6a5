"""The package: the wheel's contents, its requirements, and the pinned versions."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True, text=True)
    (built,) = folder.glob("memr-*.whl")
    with zipfile.ZipFile(built) as opened:
        yield opened


def test_the_wheel_carries_every_file_of_both_packages_and_nothing_else(wheel):
    sources = {
        path.relative_to(folder).as_posix()
        for folder in (ROOT / "client", ROOT / "service")
        for path in folder.glob("memr_*/**/*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert {name for name in wheel.namelist() if ".dist-info/" not in name} == sources
    assert {"memr_client/py.typed", "memr_service/py.typed", "memr_service/cli/demo.jsonl"} <= sources


def test_the_wheel_carries_its_licences_and_its_command(wheel):
    texts = {
        name.partition(".dist-info/")[2]: wheel.read(name).decode() for name in wheel.namelist() if "info/" in name
    }
    assert "Apache License" in texts["licenses/LICENSE"]
    assert "all-MiniLM-L6-v2" in texts["licenses/NOTICE"]
    assert "memr = memr_service.__main__:main" in texts["entry_points.txt"]


def test_without_an_extra_it_asks_for_httpx_and_pydantic_only(wheel):
    (metadata,) = (wheel.read(name).decode() for name in wheel.namelist() if name.endswith("/METADATA"))
    asked = [Requirement(line) for line in re.findall(r"^Requires-Dist: (.*)$", metadata, re.MULTILINE)]
    assert {requirement.name for requirement in asked if requirement.marker is None} == {"httpx", "pydantic"}


def test_every_requirement_is_pinned_and_the_pin_is_one_that_it_allows():
    pins = {}
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            pin = Requirement(line)
            (exact,) = pin.specifier
            assert exact.operator == "=="
            pins[canonicalize_name(pin.name)] = exact.version
    for requirement in map(Requirement, sum(PROJECT["optional-dependencies"].values(), PROJECT["dependencies"])):
        if requirement.name == "memr":  # one extra that holds another
            assert requirement.extras <= set(PROJECT["optional-dependencies"])
            continue
        assert requirement.specifier.contains(pins[canonicalize_name(requirement.name)]), requirement


def test_no_pin_asks_for_a_local_build():
    assert "+" not in re.sub(r"^#.*$", "", (ROOT / "constraints.txt").read_text(), flags=re.MULTILINE)


def test_make_setup_installs_every_extra():
    extras = re.findall(r"-e '\.\[(.*)\]'", (ROOT / "Makefile").read_text())
    assert max(map(set, (one.split(",") for one in extras)), key=len) == set(PROJECT["optional-dependencies"])


def test_ci_runs_the_tests_and_nothing_else():
    commands = (ROOT / ".ci/run").read_text().splitlines()
    assert commands[-1] == "make check test"
    assert (ROOT / ".ci/run").stat().st_mode & 0o111


def test_the_citation_names_the_paper_apart_from_the_software():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == PROJECT["version"]
    assert citation["license"] == PROJECT["license"]
    (paper,) = citation["references"]
    assert [author["family-names"] for author in paper["authors"]] == ["Le", "Do", "Nguyen", "Venkatesh"]
    assert paper["url"].endswith("2504.02273")
