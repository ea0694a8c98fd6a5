"""What the pages say of the repository is so: its commands, files and variables exist."""

from __future__ import annotations

import re

import pytest
from memr_service.settings import Settings
from support.pages import ROOT, URL, name, pages, prose

TARGETS = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
HOSTS = ("pypi.org", "pythonhosted.org", "anaconda.org", "ghcr.io", "docker.io", "quay.io")
"""Registries. memr is in none, and its pages name none."""
OWN = {"MEMR_API_KEY", "MEMR_URL", "MEMR_RUN", "MEMR_GROUP_SIZE", "MEMR_WEIGHT", "MEMR_TIMEOUT", "MEMR_PATIENCE_S"}
"""Variables of the clients."""


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text("utf-8").splitlines()) <= 200


@pytest.mark.parametrize("page", pages(), ids=name)
class TestAPage:
    def test_begins_with_its_only_title(self, page):
        titles = re.findall(r"^# .*$", prose(page), re.MULTILINE)
        assert len(titles) == 1
        assert page.read_text("utf-8").startswith(titles[0])

    def test_names_make_targets_that_exist(self, page):
        named = re.findall(r"`(?:\w+=\S+ )*make ([a-z][\w-]*)", page.read_text("utf-8"))
        assert set(named) <= TARGETS

    def test_sends_nobody_to_a_package_index(self, page):
        text = page.read_text("utf-8")
        assert not [host for host in HOSTS if host in text]
        assert not re.findall(r"(?:pip|uv|pipx) (?:install|add) (?:\S+ )*'?memr\b", text), "memr is in no index yet"

    def test_names_settings_that_exist(self, page):
        named = set(re.findall(r"\bMEMR_[A-Z_]*[A-Z]\b", page.read_text("utf-8")))
        assert named <= OWN | {f"MEMR_{field.upper()}" for field in Settings.model_fields}

    def test_names_files_that_exist(self, page):
        roots = "benchmarks|client|docker|docs|examples|service|tests"
        for path in re.findall(rf"`((?:{roots})/[\w./-]+)`", prose(page)):
            found = any((base / path).exists() for base in (ROOT, page.parent))
            assert found or path.startswith(("docs/_build",)), f"there is no {path}"


def test_make_serve_is_what_the_pages_say():
    makefile = (ROOT / "Makefile").read_text()
    assert re.search(r"^serve:.*\n\t\$\(BIN\)/memr serve$", makefile, re.MULTILINE)
    assert f"http://{Settings.model_fields['host'].default}:{Settings.model_fields['port'].default}" == URL


@pytest.mark.parametrize("path", ["openapi.json", "compose.yaml", "constraints.txt", "CITATION.cff", "NOTICE"])
def test_files_at_the_root_are_there(path):
    assert (ROOT / path).is_file()


def test_the_architecture_names_every_room():
    page = (ROOT / "docs/contributing/architecture.md").read_text("utf-8")
    rooms = [path.name for path in (ROOT / "service/memr_service").iterdir() if (path / "__init__.py").exists()]
    assert len(rooms) > 5
    assert not [room for room in rooms if not re.search(rf"\b{room}/", page)]
