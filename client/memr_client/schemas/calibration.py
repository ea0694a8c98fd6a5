"""`GET /runs/{id}/calibrate`: limits for guards, proposed from a run's own completions."""

from __future__ import annotations

from typing import Any

from memr_client.schemas.wire import ResponseModel


class Sides(ResponseModel):
    """Numbers of right and of wrong completions."""

    right: int
    wrong: int


class Proposal(ResponseModel):
    """A proposed limit for one guard, and what it would have rejected."""

    setting: str
    """Name of the setting in `RunConfig`, for example `topic_floor`."""
    component: str | None = None
    """Component that the setting belongs to; null: every component, or the run."""
    value: bool | int | float | None
    """Proposed value; null: no proposal, for the reason in `why`."""
    why: str
    of: str
    """Quantity that the proposal is a quantile of."""
    values: int
    """Number of values of that quantity."""
    quantile: float
    """Which quantile, from 0 to 1."""
    at: float | None
    """Value of that quantile."""
    too_harsh: bool = False
    """Whether the value is left out because it would have rejected more than 20 % of the right completions."""
    rejected: Sides
    """Completions that the limit would have rejected (`merge_similarity`: merged; warm-up: given no explore)."""
    seen: Sides
    """Completions that the limit was applied to."""


class Calibration(ResponseModel):
    """`GET /runs/{id}/calibrate`."""

    run_id: str
    position: int
    """The last record that was read."""
    completions: Sides
    proposals: list[Proposal]
    config: dict[str, Any]
    """The proposals as fields of a `RunConfig`, together with the run's components."""
