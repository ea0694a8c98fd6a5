"""`POST /runs/{id}/replay`: what a run's completions would have been paid under other settings."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from memr_client.schemas.config import RunConfig
from memr_client.schemas.server import Problem
from memr_client.schemas.wire import ResponseModel, Wire


class ReplayRequest(Wire):
    """`POST /runs/{id}/replay`: score the journal again, once for each of these settings."""

    settings: Annotated[list[RunConfig], Field(min_length=1, max_length=32)] = Field(
        default_factory=lambda: [RunConfig()]
    )
    """Of each only the fields that are set count. With `preset` the others are the preset's, else the run's own."""


class ReplayProgress(ResponseModel):
    """How far a replay is."""

    setting: int
    settings: int
    completions: int
    """Done under this setting."""
    of: int


class Quantity(ResponseModel):
    """A reward or one of its parts over all completions of a replay."""

    defined: int
    mean: float | None
    std: float | None
    auc: float | None
    """How often a right completion has more of it than a wrong one of its group (ties half), mean over groups."""


class Scored(ResponseModel):
    """The journal as it was scored, or as a setting scores it."""

    reward: Quantity
    raw: dict[str, Quantity]
    scaled: dict[str, Quantity]
    rejected_share: float
    """Completions that a guard rejected, of all."""
    rejected: dict[str, int]
    """"component:reason" -> completions."""


class Difference(ResponseModel):
    """The first value that a replay with the run's own config does not reproduce."""

    position: int
    item: int | None
    field: str
    recorded: Any
    replayed: Any


class SettingResult(ResponseModel):
    """What one setting made of the journal."""

    changed: dict[str, Any]
    """Fields in which it differs from the run's config; empty: it is the run's own."""
    scored: Scored
    correlation: float | None
    """Pearson's, of its rewards with the recorded ones."""
    correlation_in_groups: float | None
    """The same of rewards minus their group's mean: what group-normalised advantages see."""
    difference: Difference | None
    """Only of the run's own config: null there says that every record came out bit for bit."""
    chain: str | None
    """Only of the run's own config: the chain (hex) up to which every record came out."""
    seconds: float
    """Of one processor."""


class ReplayResult(ResponseModel):
    """A replay's results beside what the run recorded."""

    run_id: str
    first_position: int
    """The first record scored: 1, unless the journal is bounded."""
    position: int
    completions: int
    groups: int
    mixed_groups: int
    """Groups with right and wrong completions, which an AUC is about."""
    recorded: Scored
    settings: list[SettingResult]


class ReplayLine(ResponseModel):
    """One line of the answer to `POST /runs/{id}/replay`: progress, and in the end the result or a problem."""

    progress: ReplayProgress | None = None
    result: ReplayResult | None = None
    problem: Problem | None = None
