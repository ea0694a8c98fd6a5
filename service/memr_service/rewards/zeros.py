"""Why rewards are 0, in words: the first cause for each component that pays an item nothing.

A function of the record alone, so that the response to a retry says the same, wherever the record was copied to.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from memr_client.schemas import Component, RunConfig

from memr_service.rewards import guards
from memr_service.rewards.shaping import WINDOWED
from memr_service.rewards.turns import Turns
from memr_service.state.record import Batch, Effects

LIMIT_OF = {
    guards.REASONS[guard]: limit
    for guard, limit in {
        "topic_floor": "topic_floor",
        "neighbour_floor": "neighbour_floor",
        "too_short": "min_chars",
        "too_long": "max_chars",
        "repetition": "max_repetition",
        "copied": "max_copied",
        "foreign": "max_foreign",
        "truncated": "drop_truncated",
        "only_if": "only_if",
        "mixed_groups_only": "mixed_groups_only",
    }.items()
}
"""Reason of a rejection -> the field of `ComponentGuards` that has the limit."""

MEMORY_OF = {"exploit": "success", "shuffled": "success", "explore": "failure"}
"""Component -> the one memory that it reads."""


def why_zero(config: RunConfig, batch: Batch, effects: Effects, items: np.ndarray | None = None) -> list[str]:
    """Why rewards of a batch are 0: for each cause the components and, of several items, how many it holds for.

    A completion of several turns whose reward is 0 has the causes of its last turn.

    Args:
        items: which items of the batch are meant (None: all).
    """
    zero = effects.rewards == 0
    if (turns := Turns.of(config, batch, items)) is not None:
        rows = np.arange(len(zero)) if items is None else items
        unpaid, items = turns.combined(effects.rewards[rows]) == 0, rows[turns.ends]
        zero = np.zeros(len(zero), bool)
        zero[items] = unpaid
    if items is not None:
        here = np.zeros(len(zero), bool)
        here[items] = True
        zero = zero & here
    if not zero.any():
        return []
    n = len(zero) if items is None else len(items)
    holds: dict[str, tuple[list[str], int]] = {}
    explained = np.ones(len(zero), bool)
    for name in effects.raw:
        left = zero.copy()
        for cause, mask in causes(config, batch, effects, name, left):
            count = int(np.count_nonzero(mask & left))
            left = left & ~mask
            if count:
                names, most = holds.get(cause, ([], 0))
                holds[cause] = [*names, name], max(most, count)
        explained &= ~left
    left = zero & ~explained
    for cause, mask in _beyond(config, batch):
        if count := int(np.count_nonzero(mask & left)):
            holds[cause] = ["the sum"], count
        left = left & ~mask
    return [
        f"{' and '.join(names)}{f', {count} of {n}' if n > 1 else ''}: {cause}"
        for cause, (names, count) in holds.items()
    ]


def causes(
    config: RunConfig, batch: Batch, effects: Effects, name: str, asked: np.ndarray
) -> Iterator[tuple[str, np.ndarray]]:
    """(cause, the items that it holds for (n,) bool) of a component's paying nothing; for each item the first counts.

    Args:
        asked: the items that are to be explained (n,) bool.
    """
    options = config.components[name]  # type: ignore[index]
    assert isinstance(options, Component)
    raw, scaled = effects.raw[name], effects.scaled[name]
    yield from _rejections(options, effects, name, asked)
    if name == "explore" and (left := effects.warmup.get(name, 0)):
        yield f"warming up, {left} to go (first steps, then prompts with failures)", np.ones(len(raw), bool)
    undefined = np.isnan(raw)
    if undefined.any():
        yield _no_value(config, batch, effects, name), undefined & (scaled == 0)
    if (side := options.guards.earned_by) is not None:
        bound = f"{'above' if side == 'correct' else 'at most'} success_threshold {config.success_threshold:g}"
        other = guards.only_if(side, batch.outcomes > config.success_threshold)
        seen = _highest(config, batch) if side == "correct" else ""
        yield f"only {side} completions earn it (earned_by), those with an outcome {bound}{seen}", other
    yield _lowest(options, name), scaled == 0
    if options.weight == 0:
        yield "its weight is 0", np.ones(len(raw), bool)
    if options.guards.cap is not None:
        capped = (batch.outcomes == 0) | (options.guards.cap == 0)
        yield f"capped at {options.guards.cap:g} of the outcome's size, which is 0", capped
    if options.guards.anneal is not None and batch.step is not None and batch.step >= options.guards.anneal[1]:
        yield f"annealed to 0 at step {options.guards.anneal[1]}", np.ones(len(raw), bool)


def _rejections(options: Component, effects: Effects, name: str, asked: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """The guards that rejected some of the items, in the order in which they were named."""
    masks: dict[str, np.ndarray] = {}
    for item in np.flatnonzero(asked).tolist() if effects.rejected else ():
        for reason in effects.rejected[item]:
            component, _, why = reason.partition(":")
            if component == name:
                masks.setdefault(why, np.zeros(len(asked), bool))[item] = True
    for why, mask in masks.items():
        limit = LIMIT_OF.get(why)
        known = f" by the guard {limit}={getattr(options.guards, limit)!r}" if limit else ""
        yield f"rejected as {why}{known}", mask


def _no_value(config: RunConfig, batch: Batch, effects: Effects, name: str) -> str:
    """Why a component has no raw value."""
    side = MEMORY_OF.get(name)
    if side is None:
        return "nothing to compare with"
    bound = f"success_threshold {config.success_threshold:g}"
    needs = f"more than {bound}" if side == "success" else f"at most failure_threshold {config.failure_threshold:g}"
    if effects.sizes[side][1]:
        return f"nothing to compare with: no other {side} was read"
    seen = _highest(config, batch) if side == "success" else ""
    return f"nothing to compare with: there is no {side} yet, which takes an outcome of {needs}{seen}"


def _highest(config: RunConfig, batch: Batch) -> str:
    """The highest outcome, if it is no success: the threshold may not suit this verifier."""
    highest = float(batch.outcomes.max(initial=-np.inf))
    return f"; the highest outcome here is {highest:g}" if highest <= config.success_threshold else ""


def _lowest(options: Component, name: str) -> str:
    """What it means that a component's scaled value is 0."""
    if name not in WINDOWED:
        return "its value is 0"
    if options.bounds == "p5-p95" and options.tails:
        return "all values of the window are equal"
    if options.bounds == "p5-p95":
        return "in the lowest 5 % of the window, which is clipped to 0 (bounds p5-p95), or all values there are equal"
    return "the lowest value of the window, which is scaled to 0, or all values there are equal"


def _beyond(config: RunConfig, batch: Batch) -> Iterator[tuple[str, np.ndarray]]:
    """(cause, the items that it holds for (n,) bool) of a sum that is 0 though components pay."""
    most = config.equal_spread if batch.equal_spread is None else batch.equal_spread
    equal = guards.equal_outcomes(batch.outcomes, batch.group)
    if most == 0:
        whose = "the run's" if batch.equal_spread is None else "the request's"
        yield (
            (
                f"all outcomes of the group are equal, and {whose} equal_spread is 0 (send equal_spread=0.25 with the "
                "request, or set it in the config of a new run, to have rewards in such groups)"
            ),
            equal,
        )
    limits = [
        f"{name}={value:g}"
        for name, value in (("max_spread", config.max_spread), ("equal_spread", most))
        if value is not None
    ]
    held = f", or are held to 0 by the largest spread that a group may have ({', '.join(limits)})" if limits else ""
    yield f"the components cancel each other out{held}", np.ones(len(equal), bool)
