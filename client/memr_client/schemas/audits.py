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
    "plan_calibration",
]


class Audit(ResponseModel):
    """One check of a run: a figure, its limit, and what to do."""

    name: AuditName
    state: Literal["ok", "warn", "alarm", "unknown"]
    about: str
    """The component that is audited; empty for audits of the whole run."""
    value: float | None
    baseline: float | None
    """The same figure over the run's first completions; null if the audit does not compare with them."""
    limit: float
    """The state is `alarm` beyond this value."""
    beyond: Literal["above", "below"] = "above"
    """The side of its limits on which the audit fires."""
    warn: float | None = None
    """The state is `warn` beyond this value."""
    waits_for: str = ""
    """What a figure that is unknown waits for; empty if it is known."""
    says: str
    """What the figure measures, in one sentence."""
    remedy: str
    """What to do when the audit fires."""


class SpreadForeseen(ResponseModel):
    """What pass rates foresaw of the newest groups whose prompts had been visited before."""

    groups: int
    foreseen: float | None
    """Mean probability that a group's outcomes would differ; null without groups."""
    seen: float | None
    """Share of the groups whose outcomes differed."""
    error: float | None
    """Mean distance of the two over ten bins of what was foreseen, weighed by groups."""
    planned: bool
    """Whether the run has a pool."""


class Stretch(ResponseModel):
    """Consecutive completions of a run and the figures measured over them; a figure is null if it is undefined."""

    first_position: int
    position: int
    first_step: int | None
    step: int | None
    completions: int
    groups: int
    outcome: float
    reward: float
    zero_variance: float
    """Share of groups whose outcomes are all equal."""
    length: Quantiles
    """Characters of a completion's encoded text."""
    truncated: float | None
    """Share of completions that the trainer cut off."""
    shares: dict[str, float]
    """Component -> its share of the reward, over records with all components warmed up; empty if there are none."""
    memory_share: dict[str, float]
    """"all_wrong", "mixed", "all_right" -> share of the advantages' variance that the memory adds in such groups."""
    auc: dict[str, float | None]
    """Component -> probability that a right completion has a larger raw value than a wrong one of its group."""
    raw: dict[str, Quantiles | None]
    """Component -> percentiles of its raw values."""
    diversity: float | None
    """1 - mean cosine between siblings, averaged over groups."""
    vendi: float | None
    """Vendi score of a group, averaged over groups: its effective number of different completions."""
    repeated_failures: float | None
    """Share of wrong completions that are nearly equal to another failure."""
    own_prompt: float | None
    """How often a completion's nearest prompt is its own, above chance (0: as often as by chance, 1: always)."""
    spread: SpreadForeseen | None = None
    """What pass rates foresaw, over the last 64 records of the run; null at earlier positions, for the first
    completions, and for runs without pass rates."""


class Audits(ResponseModel):
    """`GET /runs/{id}/audits`: figures of a run's newest completions, compared with its first ones."""

    run_id: str
    baseline: Stretch | None
    """The run's first completions. For a component with warm-up, raw values come from the first items that have one."""
    recent: Stretch | None
    """The newest completions, or those up to the requested position; null if there are none."""
    audits: list[Audit]
    """The worst first: alarms, warnings, what is ok, by how far they are beyond their limits; unknown ones last."""
