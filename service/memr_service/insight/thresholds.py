"""When an audit fires."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

Bounds = tuple[float, float]
"""Beyond the first: warn; beyond the second: alarm. Where the second is the smaller, beyond means below."""


class Thresholds(BaseModel):
    """When an audit fires. `MEMR_AUDITS` sets some of them as JSON: {"window": 4096, "length_short": [0.6, 0.4]}."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    window: int = 2048
    """Completions in the stretch that is looked at, and in the one it is compared with."""
    least: int = 512
    """Fewer completions say nothing."""
    outcome_gain: float = 0.05
    """An outcome that rose by less did not rise."""
    repeats_gain: float = 0.1
    """Repeats whose share rose by less were there from the first."""
    recognised: float = 0.2
    """Completions that found their prompt less often above chance, at first, cannot forget it."""
    reward_mode: Bounds = (0.25, 0.5)
    length_short: Bounds = (0.7, 0.5)
    length_long: Bounds = (1.5, 2.0)
    truncation: Bounds = (0.25, 0.5)
    component_share: Bounds = (0.75, 0.9)
    memory_share: Bounds = (0.5, 0.75)
    auc_leak: Bounds = (0.98, 0.99)
    auc_inverted: Bounds = (0.35, 0.25)
    diversity: Bounds = (0.7, 0.5)
    repeated_failures: Bounds = (0.5, 0.75)
    template: Bounds = (0.7, 0.5)
    explore_drift: Bounds = (0.5, 1.0)
    zero_variance: Bounds = (0.75, 0.9)
