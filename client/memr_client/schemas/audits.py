"""`GET /runs/{id}/audits`: signs that a run is collapsing."""

from __future__ import annotations

from typing import Literal

from memr_client.schemas.history import Quantiles
from memr_client.schemas.wire import ResponseModel

AuditName = Literal[
    "reward_mode",
    "length_short",
    "length_long",
    "truncation",
    "component_share",
    "memory_share",
    "auc_leak",
    "auc_inverted",
    "diversity",
    "repeated_failures",
    "template",
    "explore_drift",
    "zero_variance",
]


class Audit(ResponseModel):
    """One question put to a run, with the figure that answers it."""

    name: AuditName
    state: Literal["ok", "warn", "alarm", "unknown"]
    about: str
    """The component, where there is one audit for each."""
    value: float | None
    baseline: float | None
    """The same figure over the run's first completions, where the audit compares with them."""
    limit: float
    """Beyond this the state is `alarm`."""
    says: str
    """What the figure is, in a sentence."""
    remedy: str
    """What to do when it fires."""


class Stretch(ResponseModel):
    """A stretch of a run's completions and what the diagnostics measure there; null where they cannot."""

    first_position: int
    position: int
    first_step: int | None
    step: int | None
    completions: int
    groups: int
    outcome: float
    reward: float
    zero_variance: float
    length: Quantiles
    """Characters of a completion's encoded text."""
    truncated: float | None
    shares: dict[str, float]
    """Component -> its share of what is paid, since all have warmed up; empty before."""
    memory_share: dict[str, float]
    """"all_wrong", "mixed", "all_right" -> share of all the advantages' variance that comes from the memory there."""
    auc: dict[str, float | None]
    raw: dict[str, Quantiles | None]
    diversity: float | None
    vendi: float | None
    repeated_failures: float | None
    own_prompt: float | None
    """How often a completion's nearest prompt is its own."""


class Audits(ResponseModel):
    """`GET /runs/{id}/audits`: is it collapsing?"""

    run_id: str
    baseline: Stretch | None
    """The run's first completions; raw values of a component that warms up are those of its first ones."""
    recent: Stretch | None
    """The newest completions, or those up to the position asked for; null where there are none."""
    audits: list[Audit]
