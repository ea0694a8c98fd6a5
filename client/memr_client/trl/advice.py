"""What a memory reward says about settings that make it mean something else than its user thinks; once each."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

from memr_client.schemas import RunConfig

FAIR_NUMBER = 512
"""Outcomes to have seen before one side is called empty."""
ONE_SIDED = 0.95


class Advice:
    """Looks at what passes by and warns once of each thing; not thread-safe."""

    def __init__(self) -> None:
        self._given: set[str] = set()
        self._seen = 0
        self._successes = 0

    def once(self, topic: str, text: str) -> None:
        """Warn, unless it was said before."""
        if topic not in self._given:
            self._given.add(topic)
            warnings.warn(f"memr: {text}", stacklevel=2)

    def on_outcomes(self, outcomes: Sequence[float], config: RunConfig) -> None:
        """Look at a batch's outcomes (n)."""
        high, low = config.success_threshold, config.failure_threshold
        if outside := [outcome for outcome in outcomes if not 0 <= outcome <= 1]:
            self.once(
                "range",
                f"an outcome of {outside[0]:g} is outside [0, 1]. Outcomes above {high:g} are stored as successes, "
                f"those at or below {low:g} as failures: scale them, or set the run's success_threshold and "
                "failure_threshold.",
            )
        self._seen += len(outcomes)
        self._successes += sum(outcome > high for outcome in outcomes)
        share = self._successes / max(self._seen, 1)
        if self._seen >= FAIR_NUMBER and max(share, 1 - share) > ONE_SIDED:
            empty, component = ("failure", "explore") if share > 0.5 else ("success", "exploit")
            self.once(
                "side",
                f"of {self._seen} outcomes {share:.1%} were successes (above {high:g}): the {empty} memory is all but "
                f"empty, and {component} says little. Look at the verifier and the thresholds, or take prompts of "
                "another difficulty.",
            )

    def on_trainer(self, args: Any, config: RunConfig) -> None:
        """Look at the trainer's arguments, where they are known."""
        by_group = getattr(args, "scale_rewards", None) in ("group", True)
        summed = getattr(args, "multi_objective_aggregation", "sum_then_normalize") == "sum_then_normalize"
        if by_group and summed and config.max_spread is None:
            self.once(
                "group-std",
                "scale_rewards='group' divides rewards by their standard deviation in the group. Where all completions "
                "of a group are right, or all wrong, only the memory tells them apart, and it gets the whole advantage "
                "however small its weight. Set scale_rewards='batch' or 'none' in the GRPOConfig, or max_spread=0.5 in "
                "the run's config, which silences the memory in such a group.",
            )

    def on_barrier(self, config: RunConfig, parts: int) -> None:
        """Look at how the run orders the requests of several ranks."""
        if parts > 1 and config.barrier == "none":
            self.once(
                "barrier",
                f"{parts} ranks share a run whose barrier is 'none': rewards depend on whose request comes first, and "
                "a group that is spread over ranks is scored in pieces. Create the run with barrier='step'.",
            )
