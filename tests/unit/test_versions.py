"""The libraries that a run's provenance names."""

from __future__ import annotations

import platform
from importlib import metadata

import pytest
from memr_service.engine.versions import LIBRARIES, library_versions


def test_python_and_every_library_that_is_installed_are_named_with_their_versions() -> None:
    versions = library_versions()
    assert versions["python"] == platform.python_version()
    assert {"numpy", "fastapi"} <= versions.keys() <= {"python", *LIBRARIES}
    assert versions["numpy"] == metadata.version("numpy")


def test_what_is_not_installed_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", missing)
    assert library_versions() == {"python": platform.python_version()}
