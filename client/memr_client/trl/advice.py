"""Warnings about settings under which a memory reward does not mean what its user expects."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

from memr_client.schemas import RunConfig

MIN_OUTCOMES = 512
"""Number of outcomes before a warning about a one-sided verifier."""
ONE_SIDED = 0.95
"""Share of successes, or of failures, that counts as one-sided."""
ENLARGES = (
    "divides rewards by their standard deviation in the group. If all completions of a group are right, or all are "
    "wrong, only the memory's rewards differ, and they become the whole advantage"
)


class Advice:
    """Checks outcomes and configs, and gives each warning once. Not thread-safe."""

    def __init__(self) -> None:
        self._given: set[str] = set()
        self._seen = 0
        self._successes = 0

    def once(self, topic: str, text: str) -> None:
        """Give a warning, unless one on this topic was given before."""
        if topic not in self._given:
            self._given.add(topic)
            warnings.warn(f"memr: {text}", stacklevel=2)

    def on_outcomes(self, outcomes: Sequence[float], config: RunConfig) -> None:
        """Check a batch's outcomes (n)."""
        high, low = config.success_threshold, config.failure_threshold
        if outside := [outcome for outcome in outcomes if not 0 <= outcome <= 1]:
            self.once(
                "range",
                f"an outcome of {outside[0]:g} is outside [0, 1]. Outcomes above {high:g} are stored as successes, "
                f"outcomes at or below {low:g} as failures. Scale the outcomes, or set the run's success_threshold and "
                "failure_threshold.",
            )
        self._seen += len(outcomes)
        self._successes += sum(outcome > high for outcome in outcomes)
        share = self._successes / max(self._seen, 1)
        if self._seen >= MIN_OUTCOMES and max(share, 1 - share) > ONE_SIDED:
            empty, component = ("failure", "explore") if share > 0.5 else ("success", "exploit")
            self.once(
                "side",
                f"{share:.1%} of {self._seen} outcomes were successes (above {high:g}). The {empty} memory is nearly "
                f"empty, so {component} carries little information. Check the verifier and the thresholds, or choose "
                "easier or harder prompts.",
            )

    def equal_spread(self, args: Any, config: RunConfig) -> float | None:
        """The `equal_spread` for a trainer with these arguments (None if unknown); None: the run's.

        It is 0 if the trainer divides rewards by their deviation in the group and the run pays where outcomes are
        equal. If the run does not limit the spread at all, a warning is all that is done.
        """
        by_group = getattr(args, "scale_rewards", None) in ("group", True)
        summed = getattr(args, "multi_objective_aggregation", "sum_then_normalize") == "sum_then_normalize"
        if config.equal_spread and (by_group or not summed):
            setting, other = (
                ("scale_rewards='group'", "scale_rewards='batch' or 'none' in the GRPOConfig")
                if summed
                else ("multi_objective_aggregation='normalize_then_sum'", "'sum_then_normalize' in the GRPOConfig")
            )
            self.once(
                "group-std",
                f"{setting} {ENLARGES}, however small they are. So they are 0 in such a group. To have them, set "
                f"{other}, or pass equal_spread={config.equal_spread:g} to memory_reward.",
            )
            return 0.0
        if by_group and summed and config.max_spread is None and config.equal_spread is None:
            self.once(
                "group-std",
                f"scale_rewards='group' {ENLARGES}, however small its weight is. Set scale_rewards='batch' or 'none' "
                "in the GRPOConfig, or max_spread=0.5 in the run's config, which makes the memory's rewards equal in "
                "such a group.",
            )
        return None

    def on_barrier(self, config: RunConfig, parts: int) -> None:
        """Check that the run's barrier fits the number of ranks."""
        if parts > 1 and config.barrier == "none":
            self.once(
                "barrier",
                f"{parts} ranks share a run whose barrier is 'none'. Rewards depend on the requests' order, and "
                "a group that is spread over ranks is scored in parts. Create the run with barrier='step'.",
            )
