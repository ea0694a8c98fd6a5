"""What the creator of a run is told about its config."""

import logging

import pytest
from memr_client import RewardClient
from memr_client.schemas import RunConfig
from memr_service.run.presets import FLOORED, PRESETS, resolve
from memr_service.run.remarks import remarks

GROUP = {"barrier": "group", "group_size": 4}
SNAPSHOT = {"barrier": "snapshot", "group_size": 4}


def said(verifier_s=30, encoder=FLOORED, **fields):
    return remarks(resolve(RunConfig(**fields), "attempts", encoder), verifier_s)


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_as_it_is_needs_no_remark(preset):
    assert said(preset=preset) == []
    assert said(preset=preset, encoder=f"sentence-transformers/{FLOORED}") == []


@pytest.mark.parametrize(
    ("preset", "lost"), [("attempts", "its guards, bounds and tails are off"), ("guarded", "its guards and bounds are")]
)
def test_components_that_replace_guarded_ones_are_said_to_have_no_guards(preset, lost):
    (warning,) = said(preset=preset, components={"exploit": 0.25, "explore": 0.25})
    assert warning.startswith(f"components replaced those of `{preset}`: {lost}")
    assert "copy them to keep them" in warning
    assert said(preset="memory-r+", components={"exploit": 0.25}) == []
    assert said(preset=preset, components=PRESETS[preset]["components"]) == []


def test_without_guards_nothing_is_said_about_the_floor_among_them():
    (warning,) = said(encoder="hashed", components={"exploit": 0.25})
    assert warning.startswith("components replaced")


@pytest.mark.parametrize("preset", ["attempts", "guarded"])
def test_another_encoder_takes_the_topic_floor(preset):
    (warning,) = said(preset=preset, encoder="hashed")
    assert warning.startswith(f"The topic_floor of `{preset}` is off: it was chosen for the encoder {FLOORED}")
    assert "hashed" in warning
    floored = {"exploit": {"guards": {"topic_floor": 0.2}}}
    assert said(preset=preset, encoder="hashed", components=floored) == []


@pytest.mark.parametrize(
    ("preset", "lost"),
    [
        ("attempts", "max_spread=0.5, equal_spread=0.25, memory.merge_similarity=0.98 and memory.gates"),
        ("guarded", "max_spread=0.5, memory.merge_similarity=0.98 and memory.gates"),
    ],
)
def test_the_barrier_snapshot_takes_what_needs_whole_groups(preset, lost):
    (warning,) = said(preset=preset, **SNAPSHOT)
    assert f"is off: {lost}." in warning
    assert said(preset=preset, **GROUP) == said(preset="memory-r+", **SNAPSHOT) == []


@pytest.mark.parametrize(
    ("fields", "verifier_s", "late"),
    [
        ({"verifier": "math", **GROUP, "barrier_timeout_s": 140}, 30, True),
        ({"verifier": "numeric", **GROUP, "barrier_timeout_s": 60}, 120, True),
        ({"verifier": "math", **GROUP, "barrier_timeout_s": 139}, 30, False),
        ({"verifier": "math", "barrier_timeout_s": 900}, 30, False),
        ({**GROUP, "barrier_timeout_s": 900}, 30, False),
    ],
)
def test_a_wait_that_openrlhf_does_not_survive_is_named_with_both_its_parts(fields, verifier_s, late):
    found = said(verifier_s, **fields)
    assert len(found) == late
    for warning in found:
        assert f"barrier_timeout_s {fields['barrier_timeout_s']} and MEMR_VERIFIER_S {verifier_s}" in warning
        assert "OpenRLHF closes a connection after 180 s" in warning


def test_a_client_logs_each_warning_of_a_created_run_once(caplog):
    with caplog.at_level(logging.WARNING, "memr_client"), RewardClient.embedded(encoder="hashed") as client:
        for _ in range(2):
            info = client.create_run("run", preset="attempts", components={"exploit": 0.25, "explore": 0.25})
        assert info.warnings == client.run("run").warnings
    logged = [record.getMessage() for record in caplog.records if record.name == "memr_client"]
    assert logged == [f"memr: run 'run': {info.warnings[0]}"]
