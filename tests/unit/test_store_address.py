"""A store's URL in a message: without its login, however it is written."""

from __future__ import annotations

import pytest
from memr_client.errors import ProblemError
from memr_service.store import open_store
from memr_service.store.address import shown


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("redis://user:secret@host:6379/0?wait=1", "redis://host:6379/0?wait=1"),
        ("redis://:sec/ret#of@secret@host:6379", "redis://host:6379"),
        ("redis://:sec?ret@host", "redis://host"),
        ("redis//:secret@host", "redis//host"),
        ("redis:secret@host", "redis:host"),
        ("redis://host?password=secret", "redis://host"),
        ("redis://host?prefix=a&password=secret&wait=2", "redis://host?prefix=a&wait=2"),
        ("memr-data", "memr-data"),
        ("sqlite:////var/lib/memr", "sqlite:////var/lib/memr"),
    ],
)
def test_a_login_is_not_shown(url, told):
    assert shown(url) == told


@pytest.mark.parametrize("url", ["redis//:secret@host", "postgres://user:secret@host/db", "sqlite:/:secret@x"])
def test_no_refusal_shows_a_login(url):
    with pytest.raises(ProblemError) as refused:
        open_store(url)
    assert "secret" not in str(refused.value.document())
    assert refused.value.remedy


def test_a_bare_folder_is_told_how_it_is_written():
    with pytest.raises(ProblemError, match="sqlite:///memr-data"):
        open_store("memr-data")


def test_a_tilde_is_the_home_directory(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    open_store("sqlite:///~/data").close()
    assert (tmp_path / "data/memr.db").exists()
    with pytest.raises(ProblemError, match="cannot be found"):
        open_store("sqlite:///~nobody-of-that-name/data")
