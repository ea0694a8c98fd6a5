"""`FirstSteps`: whether the first rewards of a run say anything, and why they do not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from memr_client.schemas import RewardResponse, RunConfig

FEW_STEPS = 3
FEW_COMPLETIONS = 8
"""The verdict falls after this many steps and completions."""


@dataclass
class FirstSteps:
    """The first training requests of a run, as one client sends them."""

    steps: set[int] = field(default_factory=set)
    """Steps that the requests named, otherwise positions: members of one group or step count together."""
    completions: int = 0
    largest: float = float("-inf")
    smallest: float = float("inf")
    paid: bool = False
    over: bool = False
    """Whether the verdict has fallen."""

    def add(self, step: int | None, outcomes: Sequence[float], response: RewardResponse) -> bool:
        """Count a request. True once: if the caller should be told why the rewards say nothing."""
        if self.over or not outcomes:
            return False
        self.steps.add(response.position if step is None else step)
        self.completions += len(outcomes)
        self.largest = max(self.largest, *outcomes)
        self.smallest = min(self.smallest, *outcomes)
        self.paid = self.paid or any(response.rewards)
        if len(self.steps) < FEW_STEPS or self.completions < FEW_COMPLETIONS:
            return False
        self.over = True
        return not self.paid or (_no_success(response) and self.largest > self.smallest)

    def says(self, config: RunConfig, response: RewardResponse) -> str:
        """Why the rewards say nothing so far, and what to do.

        Args:
            config: the run's config.
            response: the last response.
        """
        said = [f"run {response.run_id!r}:"]
        if not self.paid:
            said.append(f"all rewards of the first {self.completions} completions are 0.")
        if self.largest <= config.success_threshold:
            said.append(self._on_threshold(config))
        elif _no_success(response):
            said.append("Completions succeeded, but the success memory holds none of them.")
        if not self.paid and response.why_zero:
            said.append(f"Of the last request: {'; '.join(response.why_zero)}.")
        said.append(f"client.explain({response.run_id!r}, position={response.position}, item=0) shows each part.")
        return " ".join(said)

    def _on_threshold(self, config: RunConfig) -> str:
        text = (
            f"No completion succeeded: the largest outcome is {self.largest:g}, and a success lies above "
            f"success_threshold={config.success_threshold:g}. Without a success, exploit has nothing to compare with."
        )
        if self.largest > min(self.smallest, 0):
            return f"{text} If such outcomes are successes, create the run with a lower success_threshold."
        return f"{text} Rewards begin after the first success; easier prompts bring it sooner."


def _no_success(response: RewardResponse) -> bool:
    return response.memory.success.completions == 0
