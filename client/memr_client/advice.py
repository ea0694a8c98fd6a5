"""What a caller should know about rewards of 0: `FirstSteps` of the first ones of a run, `MostlyZero` of later ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from memr_client.schemas import RewardResponse, RunConfig
from memr_client.schemas.zeros import counted

FEW_STEPS = 3
FEW_COMPLETIONS = 8
"""The verdict falls after this many steps and completions."""
FEW_REWARDS = 4
"""Requests with fewer rewards do not tell what most of them are."""
PASSING = "warming up"
"""A cause that begins so ends by itself."""


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


@dataclass
class MostlyZero:
    """The causes for which most rewards of a run's requests were 0, as one client sees them."""

    told: set[str] = field(default_factory=set)

    def add(self, response: RewardResponse) -> list[str]:
        """The causes for which more than half of a request's rewards are 0, each given once."""
        n = len(response.rewards)
        causes = counted(response.why_zero) if n >= FEW_REWARDS else {}
        lasting = {cause: count for cause, count in causes.items() if not cause.partition(": ")[2].startswith(PASSING)}
        new = [cause for cause, count in lasting.items() if count > n / 2 and cause not in self.told]
        self.told.update(new)
        return new

    @staticmethod
    def says(causes: Sequence[str], response: RewardResponse) -> str:
        """What the causes made of a request's rewards, and where to look."""
        zeros = response.rewards.count(0)
        return (
            f"run {response.run_id!r}: {zeros} of {len(response.rewards)} rewards of a request are 0. "
            f"{'; '.join(causes)}. client.explain({response.run_id!r}, position={response.position}, "
            f"item={_first_unpaid(response)}) accounts for one of them. Each cause is told once."
        )


def _first_unpaid(response: RewardResponse) -> int:
    """Number of the first item whose reward is 0; of a completion of turns that is its last turn."""
    first = response.rewards.index(0)
    return first if response.turns is None else sum(map(len, response.turns[: first + 1])) - 1


def _no_success(response: RewardResponse) -> bool:
    return response.memory.success.completions == 0
