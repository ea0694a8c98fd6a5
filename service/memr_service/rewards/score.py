"""What a batch earns and what it would write: reads, components, windows and the sum, over views (laws L4 to L9)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from memr_service.memory import Reading, Writes
from memr_service.memory.reading import read
from memr_service.rewards import official, open_group, write_gates
from memr_service.rewards.context import ScoringContext, warmup_left
from memr_service.rewards.evaluate import EVALUATORS
from memr_service.rewards.repair import repairs
from memr_service.rewards.shaping import shape
from memr_service.rewards.staging import sides, size, stage
from memr_service.state.record import Batch, Effects
from memr_service.state.state import SIDES, State


def score(state: State, batch: Batch, *, write: bool, expired: Sequence[bytes] = ()) -> Effects:
    """What a batch does to a run, by the run's order and barrier. Nothing is changed.

    Args:
        write: whether the batch is to be stored; with `mode="eval"` it is not (L10).
        expired: open groups whose time is up, to be stored as they are (barrier `snapshot`, L11).

    Raises:
        InvalidRequest: under the barrier `snapshot`, a group has items of two prompts.
    """
    if batch.sets_up:
        return _nothing(state)
    if write and state.config.barrier == "snapshot":
        effects = open_group.score(state, batch, expired)
    else:
        repair = repairs(state, batch, write=write)
        counted = batch if repair is None else repair.of(batch)
        by_order = official.score if state.config.order == "official" else score_together
        effects = by_order(state, counted, write=write)
        if repair is not None:
            effects = replace(effects, repair=repair)
    rates = state.pass_rates
    return effects if rates is None else replace(effects, baseline=rates.shares(batch.keys, batch.texts))


def score_together(state: State, batch: Batch, *, write: bool) -> Effects:
    """Score a batch as a whole, in the order `hold_one_out` or `read_first` (L9).

    With `write`, `hold_one_out` stages all writes and then reads with one entry held out for each item; `read_first`
    reads and then stages. Without, the memories are read as they are (L10).
    """
    config, k = state.config, state.config.prompts_read
    success, failure = state.views(batch.completions, batch.step)
    nothing = Writes.of([])
    writes = (nothing, nothing)
    hold = write and config.order == "hold_one_out"
    blocked = write_gates.blocked(config, batch, *sides(config, batch.outcomes)) if write else {}
    if hold:
        writes = stage(config, batch, blocked, success, failure)
    from_success, from_failure = (
        read(view, batch.keys, batch.prompts, batch.prompt_of, k, config.min_similarity, hold_one_out=hold)
        for view in (success, failure)
    )
    warmup = warmup_left(state)
    context = ScoringContext(
        state,
        batch,
        success,
        failure,
        from_success,
        from_failure,
        hold_one_out=hold,
        explore_is_on=not warmup.get("explore"),
    )
    raw = {name: EVALUATORS[name](context) for name in config.weights}
    shaped = shape(state, batch, raw, context.nearest_prompts())
    if write and not hold:
        writes = stage(config, batch, blocked, success, failure)
    return Effects(
        success=writes[0],
        failure=writes[1],
        raw=shaped.raw,
        scaled=shaped.scaled,
        rewards=shaped.rewards,
        support={"success": support(from_success, len(batch)), "failure": support(from_failure, len(batch))},
        warmup=warmup,
        sizes={"success": size(success), "failure": size(failure)},
        rejected=write_gates.report(shaped.rejected, blocked),
    )


def _nothing(state: State) -> Effects:
    """The effects of a batch that has no items and closes no group."""
    none = np.empty(0)
    columns = dict.fromkeys(state.config.weights, none)
    writes = Writes.of([])
    counts = {side: np.empty(0, np.int64) for side in SIDES}
    return Effects(writes, writes, columns, columns, none, counts, warmup_left(state), state.sizes())


def support(readings: list[Reading], n: int) -> np.ndarray:
    """How many completions each of n items read (n,)."""
    counts = np.zeros(n, np.int64)
    if readings:
        items = np.concatenate([reading.items for reading in readings])
        counts[items] = np.concatenate([reading.counts for reading in readings])
    return counts
