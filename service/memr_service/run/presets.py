"""Presets: named settings that a run starts from, and how fields that were not set get their values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

from memr_client.errors import InvalidRequest
from memr_client.schemas import (
    COMPONENTS,
    Component,
    ComponentGuards,
    ComponentName,
    Exploit,
    MemoryQuality,
    PresetName,
    RunConfig,
    WriteGates,
    distinct,
    refusal,
)
from pydantic import ValidationError

_RELEASED = {"order": "official", "max_prompts": 10_000, "explore_warmup_prompts": 500, "explore_warmup_steps": 0}

_LIMITS = {"max_repetition": 0.5, "max_copied": 0.7, "max_foreign": 225, "drop_truncated": True}
_TOPIC = {"topic_floor": 0.5}
FLOORED = "all-MiniLM-L6-v2"
"""The encoder that the topic floor was chosen for. Cosines of others differ, so with them `guarded` and `attempts` have
no floor. `attempts` does not apply it to embeddings that were sent either, because their encoder is not known."""
_ANSWERS = {"answer_chars": 48}

_EARNED = {"weight": 0.25, "bounds": "p5-p95", "guards": {**_LIMITS, **_TOPIC, "earned_by": "correct"}}
_ATTEMPTED = {
    "weight": 0.25,
    "bounds": "p5-p95",
    "tails": 0.1,
    "guards": {**_LIMITS, **_ANSWERS, **_TOPIC, "topic_for": "encoded"},
}

LIMITED = ("attempts", "guarded")
"""The presets with limits on completions."""
NEED_WHOLE_GROUPS = ("max_spread", "spread_of", "equal_spread", "memory")
"""What they set that the barrier `snapshot` cannot serve."""

PAPER = {"exploit", "explore"}
"""The components of Memory-R+."""

AMONG_SIBLINGS = {"error_cluster", "banded_novelty", "value", "outcome_ucb", "partition"}
"""Components that compare the items of a request, or all that is stored, whatever their prompts."""
TURN_LIMITS = {
    "k": 1,
    "order": ["hold_one_out", "read_first"],
    "barrier": ["none", "step", "group"],
    "repair": None,
    "components": sorted({*get_args(ComponentName)} - AMONG_SIBLINGS),
    "memory.gates.agreement": False,
}
"""What unit `turn` allows."""

PRESETS: dict[PresetName, dict[str, Any]] = {
    "memory-r+": {},
    "memory-r": {"components": {"exploit": 1.0}},
    "official-memory-r+": {**_RELEASED, "precision": "float32"},
    "official-memory-r": {
        **_RELEASED,
        "precision": "float32",
        "components": {"exploit": 1.0},
        "max_completions": 1000,
    },
    "attempts": {
        "components": {"exploit": _ATTEMPTED, "explore": _ATTEMPTED},
        "explore_warmup_steps": 0,
        "max_spread": 0.5,
        "spread_of": "verdicts",
        "equal_spread": 0.25,
        "scaling": "request",
        "memory": {"merge_similarity": 0.98, "gates": {**_LIMITS, **_ANSWERS}},
    },
    "guarded": {
        "components": {"exploit": _EARNED, "explore": _EARNED},
        "max_spread": 0.5,
        "scaling": "request",
        "memory": {"merge_similarity": 0.98, "gates": _LIMITS},
    },
    "random": {"components": {"random": 1.0}},
    "shuffled": {"components": {"shuffled": 1.0}},
}
"""What each preset sets differently from the defaults of `RunConfig`, which are Memory-R+ as the paper describes it.
The official presets have the released code's numbers, order and quirks (`memr_service.rewards.official`). The limits of
`attempts` and `guarded` were chosen on one half of GSM8K's test questions; `make hackbench` reports the other half."""


def resolve(given: RunConfig, default: PresetName, encoder: str) -> RunConfig:
    """The config with every field set: the value that was given, else the preset's, else the default.

    Args:
        given: a config; only its fields that were set count.
        default: the preset if none is named.
        encoder: the encoder if none is named.

    Raises:
        InvalidRequest: fields do not go together.
    """
    preset = given.preset if "preset" in given.model_fields_set else default
    chosen = {name: getattr(given, name) for name in given.model_fields_set}
    chosen["encoder"] = chosen.get("encoder") or encoder
    fields = {**_fields(preset, chosen["encoder"], chosen.get("barrier")), **chosen, "preset": preset}
    config = RunConfig.model_validate(combined(fields).model_dump())
    components = {
        name: given if isinstance(given, Component) else COMPONENTS.get(name, Component)(weight=given)
        for name, given in config.components.items()
    }
    config = config.model_copy(update={"components": components})
    if (config.order == "official") != preset.startswith("official-"):
        raise InvalidRequest(
            f"order {config.order!r} does not go with preset {preset!r}.",
            value=config.order,
            limit="official order with official presets, and only there",
            remedy="Leave order out, or choose another preset.",
        )
    if config.order == "official" and config.repair is not None:
        raise InvalidRequest(
            "The official presets score as the released code does, which repairs nothing.",
            value=config.repair.model_dump(mode="json"),
            remedy="Leave repair out, or choose another preset.",
        )
    _check_components(config)
    _check_memory(config)
    _check_turns(config)
    if config.order == "official" and config.barrier == "snapshot":
        raise InvalidRequest(
            "The official presets read after every write, the barrier 'snapshot' writes after all reads.",
            value="snapshot",
            limit=["none", "step", "group"],
            remedy="Choose another barrier, or another preset.",
        )
    return config


def combined(fields: Mapping[str, Any]) -> RunConfig:
    """A config of fields from several places, each valid by itself.

    Raises:
        InvalidRequest: they do not go together.
    """
    try:
        return RunConfig(**fields)
    except ValidationError as error:
        wrong = refusal(distinct(error.errors(include_url=False))[0])
        remedy = "Change one of them; the others come from the preset or from the run."
        raise InvalidRequest(wrong.says, value=wrong.value, limit=wrong.limit, remedy=remedy) from None


def _fields(preset: PresetName, encoder: str, barrier: str | None) -> dict[str, Any]:
    """The fields that a preset sets, without those that do not work with this encoder or barrier."""
    fields = PRESETS[preset]
    if preset not in LIMITED:
        return fields
    if encoder.rpartition("/")[2] != FLOORED:
        components = {
            name: {**one, "guards": _without_floor(one["guards"])} for name, one in fields["components"].items()
        }
        fields = {**fields, "components": components}
    if barrier == "snapshot":
        fields = {name: value for name, value in fields.items() if name not in NEED_WHOLE_GROUPS}
    return fields


def _without_floor(guards: dict[str, Any]) -> dict[str, Any]:
    return {name: limit for name, limit in guards.items() if name not in ("topic_floor", "topic_for")}


def _check_components(config: RunConfig) -> None:
    """Refuse components and guards that do not work with the config's order or barrier."""
    whole_groups = config.barrier != "snapshot"
    plain = config.order == "official" or not whole_groups
    for name, options in config.components.items():
        assert isinstance(options, Component)
        wrong = None
        if name not in PAPER and plain:
            wrong = "needs another order than official, and whole groups (not the barrier 'snapshot')"
        elif config.order == "official" and (options.guards != ComponentGuards() or options.bounds != "min-max"):
            wrong = "cannot be guarded under an official preset, which scores as the released code does"
        elif options.guards.neighbour_floor is not None and (name not in PAPER or not whole_groups):
            wrong = "has no neighbours to hold to a floor (exploit and explore have, but not under 'snapshot')"
        elif plain and isinstance(options, Exploit) and options.centroids != 1:
            wrong = "has one centroid under the official presets and under the barrier 'snapshot'"
        elif options.guards.mixed_groups_only and not whole_groups:
            wrong = "cannot tell whether a group is mixed under the barrier 'snapshot'"
        if wrong:
            raise InvalidRequest(
                f"Component {name!r} {wrong}.", value=name, remedy="Change the component or the preset."
            )
    for field in ("max_spread", "equal_spread"):
        if plain and getattr(config, field) is not None:
            raise InvalidRequest(
                f"{field} needs whole groups and an order that is not official.",
                value=getattr(config, field),
                remedy="Leave it out, or choose another preset or barrier.",
            )


def _check_turns(config: RunConfig) -> None:
    """Refuse what does not work where each turn is an item: what would compare a turn with others of its completion.

    The default of `k` is 1.
    """
    if config.unit == "whole":
        return
    named = sorted(AMONG_SIBLINGS & config.components.keys())
    wrong = {
        "k": config.k if config.k != 1 else None,
        "order": config.order if config.order == "official" else None,
        "barrier": config.barrier if config.barrier == "snapshot" else None,
        "repair": config.repair and config.repair.mode,
        "components": named or None,
        "memory.gates.agreement": config.memory.gates.agreement or None,
    }
    for field, value in wrong.items():
        if value is not None:
            raise InvalidRequest(
                f"unit 'turn' does not go with {field}: {value}. A turn is compared with the turns in its place only.",
                value=value,
                limit=TURN_LIMITS[field],
                remedy=f"Change {field}, or set unit='whole'.",
            )


def _check_memory(config: RunConfig) -> None:
    """Refuse options of the memory that do not work with the config's order or barrier."""
    memory, wrong = config.memory, None
    if config.order == "official" and memory != MemoryQuality():
        wrong = "memory cannot be curated under an official preset, which remembers as the released code does."
    elif config.barrier == "snapshot" and memory.gates != WriteGates():
        wrong = "memory.gates need whole groups, which the barrier 'snapshot' does not wait for."
    elif config.barrier == "snapshot" and memory.decay_steps is not None:
        wrong = "memory.decay_steps needs another barrier: under 'snapshot' a group's mean is taken once for all items."
    if wrong:
        raise InvalidRequest(
            wrong, value=memory.model_dump(mode="json"), remedy="Leave it out, or choose another preset or barrier."
        )


def spelled_out(encoder: str) -> dict[str, dict[str, Any]]:
    """Every preset with all fields of its config (`GET /presets`)."""
    return {name: resolve(RunConfig(preset=name), name, encoder).model_dump(mode="json") for name in PRESETS}


def differences(one: RunConfig, other: RunConfig) -> list[str]:
    """Names of the fields in which two resolved configs differ."""
    a, b = one.model_dump(), other.model_dump()
    return [name for name in a if a[name] != b[name]]
