"""`POST /runs/{id}/replay`: what a run's completions would have been paid under other settings."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from memr_client.schemas.config import RunConfig
from memr_client.schemas.server import Problem
from memr_client.schemas.wire import ResponseModel, Wire


class ReplayRequest(Wire):
    """`POST /runs/{id}/replay`: score the run's journal again, once under each of these settings."""

    settings: Annotated[list[RunConfig], Field(fail_fast=True, min_length=1, max_length=32)] = Field(
        default_factory=lambda: [RunConfig()]
    )
    """Fields to change. Fields that are not set come from `preset` where it is set, otherwise from the run's config."""


class ReplayProgress(ResponseModel):
    """Progress of a replay."""

    setting: int
    """Number of the setting that is being replayed, from 0."""
    settings: int
    """Number of settings."""
    completions: int
    """Completions scored so far under this setting."""
    of: int
    """Completions to score under each setting."""


class Quantity(ResponseModel):
    """Statistics of a reward or one of its parts over all completions of a replay."""

    defined: int
    """Completions that have a value."""
    mean: float | None
    std: float | None
    auc: float | None
    """Probability that a right completion has a larger value than a wrong one of its group (ties count half), averaged
    over groups."""


class Scored(ResponseModel):
    """Statistics of the journal as it was recorded, or as a setting scores it."""

    reward: Quantity
    raw: dict[str, Quantity]
    scaled: dict[str, Quantity]
    rejected_share: float
    """Share of completions that a guard rejected."""
    rejected: dict[str, int]
    """"component:reason" -> completions."""


class Difference(ResponseModel):
    """The first value that a replay under the run's own config does not reproduce."""

    position: int
    item: int | None
    """Null if the value belongs to the whole record."""
    field: str
    recorded: Any
    replayed: Any


class SettingResult(ResponseModel):
    """Result of one setting."""

    changed: dict[str, Any]
    """Fields that differ from the run's config; empty: this is the run's own config."""
    scored: Scored
    correlation: float | None
    """Pearson correlation of its rewards with the recorded ones."""
    correlation_in_groups: float | None
    """The same after each group's mean is subtracted from both, as group-normalised advantages do."""
    difference: Difference | None
    """For the run's own config: the first difference; null if every record came out bit for bit."""
    chain: str | None
    """For the run's own config: the chain (hex) of the last record that came out bit for bit."""
    seconds: float
    """Processor time."""


class ReplayResult(ResponseModel):
    """A replay's results, with the recorded values for comparison."""

    run_id: str
    first_position: int
    """The first record scored: 1, unless the journal is bounded."""
    position: int
    completions: int
    groups: int
    mixed_groups: int
    """Groups with both right and wrong completions; only these count for an AUC."""
    recorded: Scored
    settings: list[SettingResult]


class ReplayLine(ResponseModel):
    """One line of the response of `POST /runs/{id}/replay`: progress, then as the last line a result or a problem."""

    progress: ReplayProgress | None = None
    result: ReplayResult | None = None
    problem: Problem | None = None
