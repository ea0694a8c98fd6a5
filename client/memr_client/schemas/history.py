"""`GET /runs/{id}/history`: what a run has been through."""

from __future__ import annotations

from pydantic import Field

from memr_client.schemas.reward import MemorySizes
from memr_client.schemas.wire import ResponseModel


class Quantiles(ResponseModel):
    """Percentiles of a set of values."""

    p5: float
    p25: float
    p50: float
    p75: float
    p95: float


class ComponentHistory(ResponseModel):
    """One component in one step."""

    defined: int
    """Items that had a raw value."""
    raw: Quantiles | None
    """Raw values. They show drift, which scaled values hide."""
    scaled_mean: float
    scaled_std: float
    share: float
    """|weight * mean of scaled|, divided by its sum over all components."""


class HistoryRow(ResponseModel):
    """Statistics of one step. A record without a step has its own row."""

    step: int | None
    branch: int
    """Branch of the step's last record; a restore begins a new branch."""
    first_position: int
    position: int
    """Position of the step's last record. Pass it as `after` to read on."""
    at: float
    """Unix time of the last commit."""
    items: int
    groups: int
    outcome_mean: float
    zero_variance_share: float
    """Share of groups whose outcomes are all equal. Plain GRPO learns nothing from such a group."""
    reward_mean: float
    reward_std: float
    length_mean: float
    """Mean length of a completion's encoded text, in characters."""
    length: Quantiles | None
    """The same lengths' percentiles."""
    rejected: dict[str, int]
    """"component:reason" -> items that a guard rejected; "memory:reason" -> items that a gate did not store."""
    merged: dict[str, int] = Field(default={})
    """Memory -> completions that repeated an entry and raised its count."""
    evicted: dict[str, int] = Field(default={})
    """"memory:max_completions" and "memory:max_age" -> entries removed; "memory:max_prompts" -> prompts removed."""
    diversity: float | None = None
    """1 - mean cosine between siblings, averaged over groups; null where every group has one completion."""
    support: dict[str, float]
    """Memory -> completions that an item read, on average."""
    components: dict[str, ComponentHistory]
    memory: MemorySizes


class History(ResponseModel):
    """`GET /runs/{id}/history`, oldest first."""

    rows: list[HistoryRow]
