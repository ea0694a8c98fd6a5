"""From a config with gaps to a whole one, and what each preset stands for."""

from __future__ import annotations

from typing import Any, get_args

import pytest
from memr_client.errors import InvalidRequest
from memr_client.schemas import Component, MemoryQuality, PresetName, RunConfig
from memr_service.run.presets import PRESETS, combined, differences, resolve, spelled_out

# What the law says of the defaults, written out once more; fields that it does not name are as the wire has them.
MEMORY_R_PLUS: dict[str, Any] = {
    **RunConfig().model_dump(mode="json"),
    "preset": "memory-r+",
    "k": 1,
    "max_prompts": 100_000,
    "max_completions": 100,
    "window": 100,
    "scaling": "item",
    "center": "none",
    "success_threshold": 0.5,
    "failure_threshold": 0.5,
    "components": {"exploit": {"weight": 1.0}, "explore": {"weight": 1.0}},
    "explore_warmup_prompts": 0,
    "explore_warmup_steps": 50,
    "max_spread": None,
    "equal_spread": None,
    "min_similarity": None,
    "order": "hold_one_out",
    "barrier": "none",
    "group_size": None,
    "barrier_timeout_s": 60,
    "encoder": "server-default",
    "precision": "auto",
    "deterministic": False,
    "seed": 0,
    "verifier": None,
    "memory_weight": 1.0,
    "prompt_pattern": None,
    "reasoning_tags": None,
    "long_text": "truncate",
    "storage": "float32",
    "store_text": True,
}


def resolved(default: PresetName = "memory-r+", **fields: Any) -> RunConfig:
    return resolve(RunConfig(**fields), default, "server-default")


def test_without_anything_given_a_run_is_memory_r_plus_as_the_law_spells_it() -> None:
    assert resolved().model_dump(mode="json") == MEMORY_R_PLUS


@pytest.mark.parametrize(
    ("preset", "fields"),
    [
        ("memory-r", {"components": {"exploit": {"weight": 1.0}}}),
        (
            "official-memory-r+",
            {
                "order": "official",
                "precision": "float32",
                "max_prompts": 10_000,
                "explore_warmup_prompts": 500,
                "explore_warmup_steps": 0,
            },
        ),
    ],
)
def test_a_preset_differs_from_it_in_these_fields_only(preset: PresetName, fields: dict[str, Any]) -> None:
    assert resolved(preset=preset).model_dump(mode="json") == {**MEMORY_R_PLUS, "preset": preset, **fields}


def test_every_preset_is_spelled_out_whole() -> None:
    assert set(PRESETS) == set(get_args(PresetName))
    for name, fields in spelled_out("server-default").items():
        assert set(fields) == set(MEMORY_R_PLUS)
        assert fields == resolved(preset=name).model_dump(mode="json")
        assert RunConfig(**fields).model_fields_set == set(MEMORY_R_PLUS)


def test_official_presets_keep_the_released_numbers_where_nothing_else_is_given() -> None:
    for preset in ("official-memory-r+", "official-memory-r"):
        config = resolved(preset=preset)
        assert (config.order, config.precision, config.explore_warmup_prompts) == ("official", "float32", 500)
    assert list(resolved(preset="official-memory-r").components) == ["exploit"]


def test_what_is_given_wins_over_the_preset_and_the_preset_over_the_default() -> None:
    config = resolved(preset="official-memory-r+", explore_warmup_prompts=7, k=5, encoder="hashed")
    assert (config.explore_warmup_prompts, config.k, config.encoder) == (7, 5, "hashed")
    assert config.max_prompts == 10_000


def test_a_default_that_is_given_all_the_same_counts_as_given() -> None:
    assert resolved(preset="official-memory-r+", max_prompts=100_000).max_prompts == 100_000


def test_the_servers_preset_is_taken_where_none_is_named() -> None:
    assert list(resolved("memory-r").components) == ["exploit"]
    assert resolved("memory-r").preset == "memory-r"
    assert list(resolved("memory-r", preset="memory-r+").components) == ["exploit", "explore"]


def test_components_replace_the_presets_as_a_whole_and_numbers_become_objects() -> None:
    config = resolved(components={"explore": 2})
    assert config.components == {"explore": Component(weight=2.0)}
    assert config == resolved(components={"explore": {"weight": 2.0}})


def test_resolving_again_changes_nothing() -> None:
    for preset in PRESETS:
        config = resolved(preset=preset, k=3, components={"explore": 0.5, "exploit": 2})
        assert resolve(config, "memory-r", "another") == config
        assert RunConfig.model_validate_json(config.model_dump_json()) == config
        assert list(config.components) == ["explore", "exploit"]


def test_two_ways_to_say_the_same_are_one_config() -> None:
    assert resolved(k=1, window=100) == resolved()
    assert differences(resolved(k=1), resolved()) == []


def test_differences_are_named_by_field() -> None:
    one, other = resolved(k=2, components={"exploit": 1.0}), resolved(components={"exploit": 3.0}, seed=4)
    assert differences(one, other) == ["k", "components", "seed"]
    assert differences(resolved(), resolved(preset="memory-r")) == ["preset", "components"]


@pytest.mark.parametrize(
    ("fields", "value"),
    [
        ({"order": "official"}, "official"),
        ({"preset": "official-memory-r+", "order": "read_first"}, "read_first"),
        ({"preset": "official-memory-r", "order": "hold_one_out"}, "hold_one_out"),
    ],
)
def test_the_official_order_belongs_to_the_official_presets(fields: dict[str, Any], value: str) -> None:
    with pytest.raises(InvalidRequest, match=value) as caught:
        resolved(**fields)
    assert caught.value.value == value
    assert caught.value.limit
    assert caught.value.remedy


def test_the_official_order_cannot_read_a_snapshot() -> None:
    with pytest.raises(InvalidRequest, match="snapshot"):
        resolved(preset="official-memory-r+", barrier="snapshot", group_size=4)


def test_what_is_given_is_left_as_it_is() -> None:
    given = RunConfig(components={"explore": 2})
    resolve(given, "memory-r", "hashed")
    assert given == RunConfig(components={"explore": 2})
    assert given.model_fields_set == {"components"}


def test_guarded_pays_right_answers_within_limits_and_at_most_half_of_what_the_verifier_does() -> None:
    config = resolved(preset="guarded", encoder="all-MiniLM-L6-v2")
    assert list(config.components) == ["exploit", "explore"]
    for component in config.components.values():
        assert isinstance(component, Component)
        guards = component.guards.model_dump()
        assert (component.bounds, guards.pop("earned_by"), guards.pop("topic_floor")) == ("p5-p95", "correct", 0.5)
        assert guards == config.memory.gates.model_dump()
    assert sum(config.weights.values()) == config.max_spread == 0.5
    assert resolved(preset="guarded", max_spread=None, components={"exploit": 2}).max_spread is None


def test_attempts_pays_right_and_wrong_attempts_within_limits_and_never_outbids_the_verifier() -> None:
    config = resolved(preset="attempts", encoder="all-MiniLM-L6-v2")
    assert list(config.components) == ["exploit", "explore"]
    gates = config.memory.gates.model_dump()
    for component in config.components.values():
        assert isinstance(component, Component)
        guards = component.guards.model_dump()
        assert (guards.pop("topic_floor"), guards.pop("topic_for")) == (0.5, "encoded")
        assert guards == gates
        assert "earned_by" not in guards
        assert component.bounds == "p5-p95"
        assert component.tails > 0
    assert sum(config.weights.values()) == config.max_spread == 0.5
    assert config.equal_spread is not None
    assert 0 < config.equal_spread <= 0.5
    assert config.explore_warmup_steps == 0


@pytest.mark.parametrize("preset", ["attempts", "guarded"])
@pytest.mark.parametrize("encoder", ["hashed", "models/other", None])
def test_presets_have_no_topic_floor_for_encoders_whose_cosines_they_do_not_know(
    preset: PresetName, encoder: str | None
) -> None:
    known = resolved(preset=preset, encoder="sentence-transformers/all-MiniLM-L6-v2")
    other = resolved(preset=preset, encoder=encoder)
    for one, less in zip(known.components.values(), other.components.values(), strict=True):
        assert isinstance(one, Component)
        assert isinstance(less, Component)
        assert less.guards == one.guards.model_copy(update={"topic_floor": None, "topic_for": "all"})
    assert differences(known, other) == ["components", "encoder"]


@pytest.mark.parametrize("preset", ["attempts", "guarded"])
def test_presets_do_without_what_needs_whole_groups_where_there_are_none(preset: PresetName) -> None:
    config = resolved(preset=preset, barrier="snapshot", group_size=8)
    assert config.max_spread is None
    assert config.equal_spread is None
    assert config.memory == MemoryQuality()
    assert config.components == resolved(preset=preset).components
    assert resolve(config, "memory-r", "another") == config
    for field in ("max_spread", "equal_spread"):
        with pytest.raises(InvalidRequest, match=field):
            resolved(preset=preset, barrier="snapshot", group_size=8, **{field: 0.5})


def test_fields_that_do_not_go_together_are_named() -> None:
    with pytest.raises(InvalidRequest, match=r"failure_threshold 0\.4 is above success_threshold 0\.3"):
        combined({"success_threshold": 0.3, "failure_threshold": 0.4})
