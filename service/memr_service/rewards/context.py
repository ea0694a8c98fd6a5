"""What the components of a run may use to score a batch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from memr_client.schemas import Component

from memr_service.memory import Reading, View
from memr_service.memory.reading import nearest_prompt
from memr_service.state.record import Batch
from memr_service.state.state import State


@dataclass(frozen=True)
class ScoringContext:
    """Everything a component may use to score a batch of n items.

    `success` and `failure` are the two memories as the batch sees them. `from_success` and `from_failure` are what each
    item read there; with `hold_one_out` one entry is left out for each item (L9).
    """

    state: State
    batch: Batch
    success: View
    failure: View
    from_success: list[Reading]
    from_failure: list[Reading]
    hold_one_out: bool
    explore_is_on: bool
    """Whether the warm-up of explore is over (L7)."""

    def undefined(self) -> np.ndarray:
        """A column of NaN (n,)."""
        return np.full(len(self.batch), np.nan)

    def right(self) -> np.ndarray:
        """Which items are right: outcome > `success_threshold` (n,)."""
        return self.batch.outcomes > self.state.config.success_threshold

    def nearest_prompts(self) -> dict[str, np.ndarray]:
        """Component -> cosine (n,) of each item's prompt to the nearest prompt it read, where a guard needs that."""
        prompts, found = self.batch.prompts[self.batch.prompt_of], {}
        reads = (("exploit", self.success, self.from_success), ("explore", self.failure, self.from_failure))
        for name, view, readings in reads:
            options = self.state.config.components.get(name)  # type: ignore[call-overload]
            if isinstance(options, Component) and options.guards.neighbour_floor is not None:
                found[name] = nearest_prompt(view, readings, self.batch.keys, prompts)
        return found


def warmup_left(state: State) -> dict[str, int]:
    """Component -> the steps or prompts that its warm-up still waits for, of the components that warm up (L7)."""
    return {"explore": state.warmup_left()} if "explore" in state.config.components else {}
