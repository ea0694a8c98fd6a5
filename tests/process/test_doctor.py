"""`memr doctor` reports the installation, and its problems with remedies."""

from __future__ import annotations

import io
from importlib.metadata import PackageNotFoundError, version

import pytest
from memr_service.cli import doctor
from memr_service.encoder import cpu as processor
from memr_service.encoder import model_files
from memr_service.settings import Settings
from rich.console import Console
from support.tiny_models import save_bert

HASHED = Settings(encoder="hashed")


def examine(settings):
    console = Console(width=200, file=io.StringIO())
    healthy = doctor.examine(settings, console)
    return healthy, console.file.getvalue()


def test_a_healthy_machine_passes_with_figures():
    healthy, said = examine(HASHED)
    assert healthy
    assert version("fastapi") in said
    for line in ("bfloat16 in hardware", "precision auto", "texts per second", "63 rewards", "durable commit"):
        assert line in said
    assert "failed" not in said


@pytest.fixture
def without(monkeypatch):
    """Takes packages away."""

    def take(*names):
        def left(name):
            if name in names:
                raise PackageNotFoundError(name)
            return version(name)

        monkeypatch.setattr(doctor, "version", left)

    return take


@pytest.mark.parametrize(
    ("missing", "settings", "extras"),
    [
        ("orjson", {"encoder": "hashed"}, "server"),
        ("torch", {}, "service"),
        ("torch", {"encoder": "hashed", "encoders": ["all-MiniLM-L6-v2"]}, "service"),
        ("redis", {"encoder": "hashed", "store": "redis://127.0.0.1:6379"}, "server,redis"),
    ],
)
def test_a_missing_package_is_named_with_the_command_that_installs_it(without, missing, settings, extras):
    without(missing)
    healthy, said = examine(Settings(**settings))
    assert not healthy
    assert f"not installed (required: {missing}" in said
    assert f"Do this: pip install '.[{extras}]' in a clone of memr" in said


def test_what_the_settings_do_not_need_may_be_missing(without):
    without("torch", "sentence-transformers", "redis", "pyarrow", "matplotlib")
    healthy, said = examine(HASHED)
    assert healthy
    assert "torch" not in said


def test_the_bundled_model_is_found_and_its_checksum_shown():
    findings = {finding.what: finding for finding in doctor.model(Settings())}
    assert model_files.MINILM_SHA256 in findings["its weights"].found
    assert "the published file" in findings["its weights"].found


def test_a_model_with_other_weights_fails_with_a_remedy(monkeypatch, tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"not the weights")
    monkeypatch.setattr(model_files, "minilm_folder", lambda: tmp_path)
    healthy, said = examine(Settings())
    assert not healthy
    assert "Do this: " in said


def test_an_encoder_that_does_not_exist_fails_with_a_remedy(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    healthy, said = examine(Settings(encoder=str(tmp_path)))
    assert not healthy
    assert "Do this: " in said


def test_the_precision_that_auto_selects_is_shown_with_the_reason(tmp_path, monkeypatch):
    monkeypatch.setattr(processor, "bfloat16", tuple)
    healthy, said = examine(Settings(encoder=str(save_bert(tmp_path)), device="cpu"))
    assert healthy
    assert "float32: the cpu has no bfloat16 arithmetic; our own forward pass" in said
