"""`Options`: which run a training is rewarded by, and how."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from memr_client.columns import checked
from memr_client.errors import InvalidRequest
from memr_client.schemas import Name, RunConfig


class Options(BaseModel):
    """What verl's configuration says about memr; where it is silent, the environment: `MEMR_` + the name."""

    model_config = ConfigDict(extra="forbid", frozen=True, coerce_numbers_to_str=True)

    url: str
    """Where the service listens (`MEMR_URL`)."""
    run: Name
    """The run's name (`MEMR_RUN`)."""
    weight: float = Field(default=1.0, allow_inf_nan=False)
    """Factor of the memory's reward, which is added to the score."""
    group_size: int | None = Field(default=None, ge=1)
    """Completions of a prompt in a step, verl's `rollout.n`; needed where the run does not exist."""
    config: RunConfig | None = None
    """How to create the run; one that exists must have been created alike. None takes a run as it is."""
    timeout: float = Field(default=300.0, gt=0)
    """Seconds a call may take; more than the run's barrier_timeout_s."""
    patience_s: float = Field(default=600.0, ge=0)
    """Seconds a sample goes on trying while the service fails; then its reward fails."""


NAMES = frozenset(Options.model_fields)


def read_options(given: Mapping[str, Any]) -> Options:
    """The options given by name (None: not given), completed from the environment.

    Raises:
        InvalidRequest: one is missing, unknown or does not fit.
    """
    fields = {name: _plain(value) for name, value in given.items() if value is not None}
    for name in NAMES - fields.keys() - {"config"}:
        if (said := os.environ.get(f"MEMR_{name.upper()}")) is not None:
            fields[name] = said
    for name in ("url", "run"):
        if name not in fields:
            raise InvalidRequest(
                f"memr is not told its {name}.", remedy=f"Set {name} in verl's configuration, or MEMR_{name.upper()}."
            )
    return checked(Options, **fields)


def _plain(value: Any) -> Any:
    """Mappings and sequences of any kind, such as omegaconf's, as dicts and lists."""
    if isinstance(value, Mapping):
        return {name: _plain(member) for name, member in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(member) for member in value]
    return value
