"""`GET /runs/{id}/calibrate`: limits for guards."""

from __future__ import annotations

from typing import Any

from memr_client.schemas.wire import ResponseModel


class Sides(ResponseModel):
    """How many right completions, and how many wrong ones."""

    right: int
    wrong: int


class Proposal(ResponseModel):
    """What a guard's limit might be for this run, and what that would have done."""

    setting: str
    """`topic_floor` and the like, as `RunConfig` names them."""
    component: str | None = None
    """The component that it is for; null: all of them, or the run."""
    value: bool | int | float | None
    """Null: none is proposed, and `why` says why not."""
    why: str
    of: str
    """What the proposal rests on: a quantile of this,"""
    values: int
    """of so many values,"""
    quantile: float
    """so far up,"""
    at: float | None
    """which lies here."""
    rejected: Sides
    """Completions of the run that it would have rejected (`merge_similarity`: merged; warm-up: paid no explore),"""
    seen: Sides
    """of so many that were looked at."""


class Calibration(ResponseModel):
    """`GET /runs/{id}/calibrate`."""

    run_id: str
    position: int
    """The run's records up to this one were read."""
    completions: Sides
    proposals: list[Proposal]
    config: dict[str, Any]
    """The proposals as fields of a `RunConfig`, beside the components that the run has."""
