"""`Options`: memr's options in verl's configuration."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ConfigDict, Field

from memr_client.columns import checked
from memr_client.errors import InvalidRequest
from memr_client.schemas import Name, PresetName, RunConfig, Wire


class Options(Wire):
    """memr's options in verl's configuration. An option that is not set there comes from the environment variable
    `MEMR_` + its name in capitals; `config` and `preset` do not."""

    model_config = ConfigDict(coerce_numbers_to_str=True)

    url: str
    """Address of the service (`MEMR_URL`)."""
    run: Name
    """The run's name (`MEMR_RUN`)."""
    weight: float = Field(default=1.0, allow_inf_nan=False)
    """Factor of the memory's reward, which is added to verl's score."""
    equal_spread: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    """Largest spread of the memory's rewards in a group whose outcomes are all equal, before `weight`.

    None: 0 if verl divides rewards by their deviation in the group (GRPO with `norm_adv_by_std_in_grpo`), or may do so,
    because that would enlarge them to the whole advantage; otherwise the run's.
    """
    group_size: int | None = Field(default=None, ge=1)
    """Completions per prompt and step, verl's `rollout.n`. Needed to create a run."""
    preset: PresetName | None = None
    """Preset of the run, the same as `config.preset`."""
    config: RunConfig | None = None
    """The run is created with this config if it does not exist. An existing run must have the same one.

    None uses an existing run, whatever its config.
    """
    timeout: float = Field(default=300.0, gt=0)
    """Seconds for one call. Must be larger than the run's `barrier_timeout_s`."""
    patience_s: float = Field(default=600.0, ge=0)
    """Seconds for which a sample is sent again while the service fails. Then the error is raised."""


NAMES = frozenset(Options.model_fields)
OF_THE_RUN = frozenset({"config", "preset"})
"""Options that say what a run is. They come from the configuration only."""


def read_options(given: Mapping[str, Any]) -> Options:
    """The options given by name, completed from the environment. A value of None counts as not given.

    Raises:
        InvalidRequest: an option is missing, unknown or does not fit.
    """
    fields = {name: _plain(value) for name, value in given.items() if value is not None}
    for name in NAMES - fields.keys() - OF_THE_RUN:
        if value := os.environ.get(f"MEMR_{name.upper()}", "").strip():
            fields[name] = value
    for name in ("url", "run"):
        if name not in fields:
            raise InvalidRequest(
                f"memr needs the option {name}.", remedy=f"Set {name} in verl's configuration, or MEMR_{name.upper()}."
            )
    return checked(Options, **fields)


def _plain(value: Any) -> Any:
    """Mappings and sequences of any kind, for example omegaconf's, as dicts and lists."""
    if isinstance(value, Mapping):
        return {name: _plain(member) for name, member in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(member) for member in value]
    return value
