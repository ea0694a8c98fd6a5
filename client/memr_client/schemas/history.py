"""`GET /runs/{id}/history`: what a run has been through."""

from __future__ import annotations

from pydantic import Field

from memr_client.schemas.reward import MemorySizes
from memr_client.schemas.wire import ResponseModel


class Quantiles(ResponseModel):
    """Where values lie."""

    p5: float
    p25: float
    p50: float
    p75: float
    p95: float


class ComponentHistory(ResponseModel):
    """One component over a step."""

    defined: int
    """Items that had a raw value."""
    raw: Quantiles | None
    """Raw values: unlike the scaled ones they show drift."""
    scaled_mean: float
    scaled_std: float
    share: float
    """|weight * mean of scaled| over the sum of that over all components."""


class HistoryRow(ResponseModel):
    """One step of a run's history; a record without a step is a row of its own."""

    step: int | None
    branch: int
    """The branch of the step's last record: a restore begins a new one."""
    first_position: int
    position: int
    """The step's last record: where to go on reading."""
    at: float
    """Unix time of the last commit."""
    items: int
    groups: int
    outcome_mean: float
    zero_variance_share: float
    """Share of groups whose outcomes are all equal: plain GRPO learns nothing from them."""
    reward_mean: float
    reward_std: float
    length_mean: float
    """Characters of a completion's encoded text."""
    length: Quantiles | None
    rejected: dict[str, int]
    """"component:reason" -> items that a guard rejected; "memory:reason" -> items that a gate kept from the memory."""
    merged: dict[str, int] = Field(default={})
    """Memory -> completions that repeated an entry and raised its count."""
    evicted: dict[str, int] = Field(default={})
    """"memory:limit" -> entries that left for `max_completions` or `max_age`, prompts for `max_prompts`."""
    diversity: float | None = None
    """1 - mean cosine of siblings, mean over groups; null where no group has two completions."""
    support: dict[str, float]
    """Completions read, per item, from each memory."""
    components: dict[str, ComponentHistory]
    memory: MemorySizes


class History(ResponseModel):
    """`GET /runs/{id}/history`, the oldest first."""

    rows: list[HistoryRow]
