"""Which completions of a batch each memory takes, staged on its view (law L3)."""

from __future__ import annotations

import numpy as np
from memr_client.schemas import RunConfig

from memr_service.memory import View, Writes
from memr_service.rewards.write_gates import Blocked
from memr_service.state.record import Batch


def sides(config: RunConfig, outcomes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which items the outcome sends to the success and to the failure memory, as two masks (n,) (L3)."""
    return outcomes > config.success_threshold, outcomes <= config.failure_threshold


def stage(config: RunConfig, batch: Batch, blocked: Blocked, success: View, failure: View) -> tuple[Writes, Writes]:
    """Stage a batch's writes on both views, in item order, except for the items that the write gates block."""
    prompts, out = batch.prompt_rows, np.zeros(len(batch), bool)
    for mask in blocked.values():
        out |= mask
    right, wrong = sides(config, batch.outcomes)
    return (
        success.write_all(np.flatnonzero(right & ~out), batch.keys, prompts),
        failure.write_all(np.flatnonzero(wrong & ~out), batch.keys, prompts),
    )


def size(view: View) -> list[int]:
    """[prompts, completions] of a memory, the staged ones included."""
    return [view.prompt_count, view.completion_count]
