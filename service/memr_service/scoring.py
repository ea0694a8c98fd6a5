"""What a batch earns and what it would write: reads, components, windows and the sum, over views (laws L4 to L9)."""

from __future__ import annotations

import numpy as np
from memr_client.schemas import RunConfig

from memr_service import reward
from memr_service.memory import Reading, View, Writes
from memr_service.memory.index import MARGINS
from memr_service.memory.memory import on_grid
from memr_service.record import Batch, Effects
from memr_service.state import State


def score(state: State, config: RunConfig, batch: Batch, *, write: bool) -> Effects:
    """Everything a batch does to a run, without doing it.

    With `write`, in the order of the config: `hold_one_out` stages all writes and reads with one entry held out,
    `read_first` reads and then stages. Without, the memories are read as they are (L10).
    """
    success, failure = state.views(batch)
    nothing = Writes.of([])
    writes = (nothing, nothing)
    hold = write and config.order == "hold_one_out"
    if hold:
        writes = stage(config, batch, success, failure)
    reads = [
        view.read(batch.keys, batch.prompts, batch.prompt_of, config.k, config.min_similarity, hold_one_out=hold)
        for view in (success, failure)
    ]
    warmup = warmup_left(state, config)
    raw = {}
    if "exploit" in config.components:
        raw["exploit"] = measure_exploit(success, reads[0], batch)
    if "explore" in config.components:
        off = warmup["explore"] > 0
        raw["explore"] = np.full(len(batch), np.nan) if off else measure_explore(failure, reads[1], batch, config)
    if write and not hold:
        writes = stage(config, batch, success, failure)
    scaled = {}
    for name, values in raw.items():
        scaled[name] = reward.scale(state.windows[name], values, config.window, config.scaling)
        if config.center == "group":
            scaled[name] = reward.center(scaled[name], batch.group)
    return Effects(
        success=writes[0],
        failure=writes[1],
        raw=raw,
        scaled=scaled,
        rewards=reward.weighted_sum(scaled, config.weights, len(batch)),
        support={"success": support(reads[0], len(batch)), "failure": support(reads[1], len(batch))},
        warmup=warmup,
        sizes={"success": size(success), "failure": size(failure)},
    )


def sides(config: RunConfig, outcomes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which items go to the success and to the failure memory, as two masks (n,) (L3)."""
    return outcomes > config.success_threshold, outcomes <= config.failure_threshold


def stage(config: RunConfig, batch: Batch, success: View, failure: View) -> tuple[Writes, Writes]:
    """Stage a batch's writes on both views, in item order."""
    prompts = batch.prompts[batch.prompt_of]
    right, wrong = sides(config, batch.outcomes)
    return (
        success.write_all(np.flatnonzero(right), batch.keys, prompts),
        failure.write_all(np.flatnonzero(wrong), batch.keys, prompts),
    )


def warmup_left(state: State, config: RunConfig) -> dict[str, int]:
    """What each component that warms up still waits for (L7)."""
    return {"explore": state.warmup_left()} if "explore" in config.components else {}


def measure_exploit(view: View, readings: list[Reading], batch: Batch) -> np.ndarray:
    """Raw exploit of every item (n,), from running sums: its cost does not grow with L."""
    raw = np.full(len(batch), np.nan)
    for reading in readings:
        if len(reading.entries):
            total = np.sum([view.sum(prompt) for prompt in reading.prompts], axis=0)
            held = on_grid(view.vectors(reading.entries[np.maximum(reading.held, 0)]))
            seen = total - np.where(reading.held[:, None] >= 0, held, 0.0)
            raw[reading.items] = reward.exploit(batch.completions[reading.items], seen, reading.counts)
    return raw


def measure_explore(view: View, readings: list[Reading], batch: Batch, config: RunConfig) -> np.ndarray:
    """Raw explore of every item (n,): one matrix product for all items that read the same prompts."""
    margin = MARGINS[config.storage]
    raw = np.full(len(batch), np.nan)
    for reading in readings:
        if len(reading.entries):
            completions = batch.completions[reading.items]
            raw[reading.items] = reward.explore(completions, view.vectors(reading.entries), reading.held, margin)
    return raw


def support(readings: list[Reading], n: int) -> np.ndarray:
    """How many completions each item read (n,)."""
    counts = np.zeros(n, np.int64)
    for reading in readings:
        counts[reading.items] = reading.counts
    return counts


def size(view: View) -> list[int]:
    """[prompts, completions] of a view."""
    return [view.prompt_count, view.completion_count]
