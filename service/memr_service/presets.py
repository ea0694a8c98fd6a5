"""Presets: named settings a run starts from, and how a config with gaps becomes a whole one."""

from __future__ import annotations

from typing import Any

from memr_client.errors import InvalidRequest
from memr_client.schemas import Component, PresetName, RunConfig

LAW = 1
"""Version of the semantics. A run keeps the one it was created under."""

_RELEASED = {"order": "official", "max_prompts": 10_000, "explore_warmup_prompts": 500, "explore_warmup_steps": 0}

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
}
"""What each preset sets differently from the defaults of `RunConfig`, which are Memory-R+ as the paper describes it.
The official ones carry the released code's numbers as well as its order and quirks (`memr_service.official`)."""


def resolve(given: RunConfig, default: PresetName, encoder: str) -> RunConfig:
    """The config with every field set: what was given, else the preset's, else the default.

    Args:
        given: a config of which only the fields that were set count.
        default: the preset where none is named.
        encoder: the encoder where none is named.

    Raises:
        InvalidRequest: the order does not belong to the preset.
    """
    preset = given.preset if "preset" in given.model_fields_set else default
    chosen = {name: getattr(given, name) for name in given.model_fields_set}
    fields = {**PRESETS[preset], **chosen, "preset": preset}
    fields["encoder"] = fields.get("encoder") or encoder
    config = RunConfig.model_validate(RunConfig(**fields).model_dump())
    components = {name: Component(weight=weight) for name, weight in config.weights.items()}
    config = config.model_copy(update={"components": components})
    if (config.order == "official") != preset.startswith("official-"):
        raise InvalidRequest(
            f"order {config.order!r} does not go with preset {preset!r}.",
            value=config.order,
            limit="official order with official presets, and only there",
            remedy="Leave order out, or choose another preset.",
        )
    if config.order == "official" and config.barrier == "snapshot":
        raise InvalidRequest(
            "The official presets read after every write, the barrier 'snapshot' writes after all reads.",
            value="snapshot",
            limit=["none", "step", "group"],
            remedy="Choose another barrier, or another preset.",
        )
    return config


def spelled_out(encoder: str) -> dict[str, dict[str, Any]]:
    """Every preset as the whole config it stands for (`GET /presets`)."""
    return {name: resolve(RunConfig(preset=name), name, encoder).model_dump(mode="json") for name in PRESETS}


def differences(one: RunConfig, other: RunConfig) -> list[str]:
    """Names of the fields in which two resolved configs differ."""
    a, b = one.model_dump(), other.model_dump()
    return [name for name in a if a[name] != b[name]]
