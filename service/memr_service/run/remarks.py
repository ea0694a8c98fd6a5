"""What the creator of a run should know about its config: what it does not have of its preset, and times that clash."""

from __future__ import annotations

from collections.abc import Iterator

from memr_client.schemas import Component, ComponentGuards, MemoryQuality, RunConfig

from memr_service.run.presets import FLOORED, LIMITED, PRESETS

PATIENCE_S = 180
"""Seconds after which OpenRLHF closes a connection."""
LATEST_S = 170
"""Seconds that a barrier and a verifier may take together, so that the response still arrives."""


def remarks(config: RunConfig, verifier_s: float) -> list[str]:
    """Warnings about a resolved config.

    Args:
        verifier_s: seconds that a verifier may take on this server.
    """
    return [*_lost_components(config), *_lost_floor(config), *_lost_limits(config), *_too_late(config, verifier_s)]


def _lost_components(config: RunConfig) -> Iterator[str]:
    """Components that were given replace the preset's, guards included."""
    preset = PRESETS[config.preset].get("components", {}).values()
    options = {name for one in preset if isinstance(one, dict) for name in one if name != "weight"}
    if "guards" in options and not _guarded(config):
        lost = _listed([name for name in ("guards", "bounds", "tails") if name in options])
        yield (
            f"components replaced those of `{config.preset}`: its {lost} are off; copy them to keep them. "
            f"GET /presets (client.presets()) has them, with weights to change."
        )


def _lost_floor(config: RunConfig) -> Iterator[str]:
    """A topic floor was chosen for one encoder."""
    floors = [one.guards.topic_floor for one in config.components.values() if isinstance(one, Component)]
    other = (config.encoder or "").rpartition("/")[2] != FLOORED
    if config.preset in LIMITED and other and _guarded(config) and not any(floor is not None for floor in floors):
        yield (
            f"The topic_floor of `{config.preset}` is off: it was chosen for the encoder {FLOORED}, and cosines of "
            f"{config.encoder} differ. Completions that say nothing about their prompt are not rejected for it. "
            "`memr calibrate` proposes a floor for this encoder from a run's completions."
        )


def _lost_limits(config: RunConfig) -> Iterator[str]:
    """The barrier `snapshot` cannot serve what needs whole groups."""
    if config.preset not in LIMITED or config.barrier != "snapshot":
        return
    preset = PRESETS[config.preset]
    lost = [
        f"{name}={preset[name]:g}"
        for name in ("max_spread", "equal_spread")
        if name in preset and getattr(config, name) is None
    ]
    if config.memory == MemoryQuality():
        lost += [f"memory.merge_similarity={preset['memory']['merge_similarity']:g}", "memory.gates"]
    if lost:
        yield (
            f"The barrier `snapshot` scores before a group is whole, so what needs whole groups in `{config.preset}` "
            f"is off: {_listed(lost)}. The barriers `group` and `step` keep it."
        )


def _too_late(config: RunConfig, verifier_s: float) -> Iterator[str]:
    """A trainer may have left before its response is there."""
    waits = config.barrier in ("group", "step")
    if config.verifier is not None and waits and config.barrier_timeout_s + verifier_s >= LATEST_S:
        yield (
            f"barrier_timeout_s {config.barrier_timeout_s:g} and MEMR_VERIFIER_S {verifier_s:g} are "
            f"{config.barrier_timeout_s + verifier_s:g} s together, and OpenRLHF closes a connection after "
            f"{PATIENCE_S} s. Lower one of them until they are below {LATEST_S} s together: barrier_timeout_s in this "
            "config, MEMR_VERIFIER_S at the server."
        )


def _guarded(config: RunConfig) -> bool:
    """Whether any component has guards."""
    return any(isinstance(one, Component) and one.guards != ComponentGuards() for one in config.components.values())


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
