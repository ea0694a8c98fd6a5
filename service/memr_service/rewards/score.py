"""What a batch earns and what it would write: reads, components, windows and the sum, over views (laws L4 to L9)."""

from __future__ import annotations

import numpy as np
from memr_client.schemas import RunConfig

from memr_service.memory import Reading, View, Writes
from memr_service.rewards import write_gates
from memr_service.rewards.evaluate import EVALUATORS, ScoringContext
from memr_service.rewards.shaping import pay
from memr_service.state.record import Batch, Effects
from memr_service.state.state import State


def score(state: State, config: RunConfig, batch: Batch, *, write: bool) -> Effects:
    """Everything a batch does to a run, without doing it.

    With `write`, in the order of the config: `hold_one_out` stages all writes that the gates let in and reads with one
    entry held out, `read_first` reads and then stages. Without, the memories are read as they are (L10).
    """
    success, failure = state.views(batch.completions, batch.step)
    nothing = Writes.of([])
    writes = (nothing, nothing)
    hold = write and config.order == "hold_one_out"
    right, wrong = sides(config, batch.outcomes)
    shut = write_gates.shut(config, batch, right, wrong) if write else {}
    if hold:
        writes = stage(config, batch, shut, success, failure)
    won, lost = (
        view.read(batch.keys, batch.prompts, batch.prompt_of, config.k, config.min_similarity, hold_one_out=hold)
        for view in (success, failure)
    )
    warmup = warmup_left(state, config)
    scene = ScoringContext(state, config, batch, success, failure, won, lost, hold=hold, warm=not warmup.get("explore"))
    raw = {name: EVALUATORS[name](scene) for name in config.weights}
    paid = pay(state, config, batch, raw, scene.nearest())
    if write and not hold:
        writes = stage(config, batch, shut, success, failure)
    return Effects(
        success=writes[0],
        failure=writes[1],
        raw=paid.raw,
        scaled=paid.scaled,
        rewards=paid.rewards,
        support={"success": support(won, len(batch)), "failure": support(lost, len(batch))},
        warmup=warmup,
        sizes={"success": size(success), "failure": size(failure)},
        rejected=write_gates.report(paid.rejected, shut),
    )


def sides(config: RunConfig, outcomes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which items go to the success and to the failure memory, as two masks (n,) (L3)."""
    return outcomes > config.success_threshold, outcomes <= config.failure_threshold


def stage(
    config: RunConfig, batch: Batch, shut: write_gates.Shut, success: View, failure: View
) -> tuple[Writes, Writes]:
    """Stage a batch's writes on both views, in item order, but what the gates keep out."""
    prompts, out = batch.prompt_rows, np.zeros(len(batch), bool)
    for mask in shut.values():
        out |= mask
    right, wrong = sides(config, batch.outcomes)
    return (
        success.write_all(np.flatnonzero(right & ~out), batch.keys, prompts),
        failure.write_all(np.flatnonzero(wrong & ~out), batch.keys, prompts),
    )


def warmup_left(state: State, config: RunConfig) -> dict[str, int]:
    """What each component that warms up still waits for (L7)."""
    return {"explore": state.warmup_left()} if "explore" in config.components else {}


def support(readings: list[Reading], n: int) -> np.ndarray:
    """How many completions each item read (n,)."""
    counts = np.zeros(n, np.int64)
    if readings:
        items = np.concatenate([reading.items for reading in readings])
        counts[items] = np.concatenate([reading.counts for reading in readings])
    return counts


def size(view: View) -> list[int]:
    """[prompts, completions] of a view."""
    return [view.prompt_count, view.completion_count]
