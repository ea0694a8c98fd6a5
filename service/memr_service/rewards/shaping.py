"""From raw values to rewards: guards, windows, weights and the sum (laws L6 and L8)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from memr_client.schemas import BandedNovelty, Component, ComponentGuards, ErrorCluster, OutcomeUcb, RunConfig

from memr_service.memory.cosine import rowwise_cosines
from memr_service.rewards import guards
from memr_service.rewards.groups import center
from memr_service.state.record import Batch
from memr_service.state.state import State, window_size
from memr_service.state.window import scale, slide

ENOUGH = 2
"""Right completions in a request from which it is worth a warning that most were rejected."""
WINDOWED = {"exploit", "explore", "contrast", "value", "shuffled"}
"""Components whose raw values have no scale of their own; the others are paid as they are, nothing where undefined."""


@dataclass(frozen=True)
class Shaped:
    """What each item is paid, and how that came about."""

    raw: dict[str, np.ndarray]
    """Raw values (n,), NaN also where a guard rejected the item."""
    scaled: dict[str, np.ndarray]
    rewards: np.ndarray
    rejected: list[list[str]]
    """For each item "component:reason"; empty where nothing was rejected at all."""


def pay(
    state: State, config: RunConfig, batch: Batch, raw: dict[str, np.ndarray], nearest: dict[str, np.ndarray]
) -> Shaped:
    """Guard, scale, weigh and add up.

    Args:
        raw: component -> raw values (n,), in the order of the config.
        nearest: component -> similarity of the nearest prompt read (n,), where a guard asks for it.
    """
    reasons: list[list[str]] = [[] for _ in range(len(batch))]
    kept, scaled, rewards = {}, {}, np.zeros(len(batch))
    for name, values in raw.items():
        options = _options(config, name)
        out = np.zeros(len(batch), bool)
        for reason, mask in rejections(config, options.guards, batch, nearest.get(name)):
            out |= mask
            for item in np.flatnonzero(mask).tolist():
                reasons[item].append(f"{name}:{reason}")
        kept[name] = np.where(out, np.nan, values)
        scaled[name] = _scaled(state, config, name, options, kept[name], out, batch)
        rewards = rewards + bonus(state, options, scaled[name], batch)
    if config.max_spread is not None:
        rewards = guards.spread_cap(rewards, batch.outcomes, batch.group, config.max_spread)
    return Shaped(kept, scaled, rewards, reasons if any(reasons) else [])


def bonus(state: State, options: Component, scaled: np.ndarray, batch: Batch) -> np.ndarray:
    """What a component adds to the rewards (n,): its weighted scaled values where they are earned, annealed, capped."""
    weighted = options.weight * scaled
    if options.guards.earned_by is not None:
        other = guards.only_if(options.guards.earned_by, batch.outcomes > state.config.success_threshold)
        weighted = np.where(other, options.weight * _least(options), weighted)
    if options.guards.anneal is not None:
        step = batch.step if batch.step is not None else state.steps_committed
        weighted = guards.anneal(step, *options.guards.anneal) * weighted
    if options.guards.cap is not None:
        weighted = guards.cap(weighted, batch.outcomes, options.guards.cap)
    return np.asarray(weighted)


def doubts(config: RunConfig, batch: Batch, rejected: list[list[str]]) -> list[str]:
    """A warning where guards or gates turn away most right completions: then their limits are another task's."""
    right = np.flatnonzero(batch.outcomes > config.success_threshold).tolist() if rejected else []
    lost = [rejected[item] for item in right if rejected[item]]
    if len(right) < ENOUGH or len(lost) <= len(right) / 2:
        return []
    (reason, _), *_ = Counter(one.partition(":")[2] for reasons in lost for one in set(reasons)).most_common(1)
    return [
        f"{len(lost)} of {len(right)} right completions were rejected, mostly as {reason!r}: the limits may not suit "
        "this task. `memr calibrate` proposes limits by what the run has seen; the preset 'memory-r+' has none."
    ]


def _options(config: RunConfig, name: str) -> Component:
    options = config.components[name]  # type: ignore[index]
    assert isinstance(options, Component)
    return options


def rejections(
    config: RunConfig, on: ComponentGuards, batch: Batch, nearest: np.ndarray | None
) -> Iterator[tuple[str, np.ndarray]]:
    """(reason, mask (n,)) of each guard that is on."""
    reason = guards.REASONS
    if on.topic_floor is not None:
        topic = rowwise_cosines(batch.prompts[batch.prompt_of], batch.completions)
        yield reason["topic_floor"], guards.topic_floor(topic, on.topic_floor)
    if on.neighbour_floor is not None and nearest is not None:
        yield reason["neighbour_floor"], guards.neighbour_floor(nearest, on.neighbour_floor)
    if on.min_chars is not None:
        yield reason["too_short"], guards.too_short(batch.lengths, on.min_chars)
    if on.max_chars is not None:
        yield reason["too_long"], guards.too_long(batch.lengths, on.max_chars)
    if on.max_repetition is not None and batch.repeated is not None:
        yield reason["repetition"], guards.repetition(batch.repeated, on.max_repetition)
    if on.max_copied is not None and batch.copied is not None:
        yield reason["copied"], guards.copied(batch.copied, on.max_copied)
    if on.max_foreign is not None and batch.foreign is not None:
        yield reason["foreign"], guards.foreign(batch.foreign, on.max_foreign)
    if on.drop_truncated and batch.truncated is not None:
        yield reason["truncated"], guards.truncated(batch.truncated)
    if on.only_if is not None:
        yield reason["only_if"], guards.only_if(on.only_if, batch.outcomes > config.success_threshold)
    if on.mixed_groups_only:
        unmixed = guards.mixed_groups_only(batch.outcomes, batch.group, config.success_threshold)
        yield reason["mixed_groups_only"], unmixed


def _least(options: Component) -> float:
    """The least a component without a window pays: what a rejected item gets, lest it gain by being rejected."""
    if isinstance(options, ErrorCluster):
        return -options.beta
    if isinstance(options, OutcomeUcb):
        return -options.baseline
    return -1.0 if isinstance(options, BandedNovelty) else 0.0


def _scaled(
    state: State,
    config: RunConfig,
    name: str,
    options: Component,
    raw: np.ndarray,
    out: np.ndarray,
    batch: Batch,
) -> np.ndarray:
    """A component's scaled values (n,); `out` (n,) are the items its guards rejected."""
    size = window_size(config, name)
    if name not in WINDOWED:
        scaled = np.where(out, _least(options), np.nan_to_num(raw, nan=0.0))
    elif options.bounds == "min-max":
        scaled = scale(state.windows[name], raw, size, config.scaling)
    else:
        law = guards.trimmed if options.bounds == "p5-p95" else guards.rank
        most = max(size, int(np.count_nonzero(~np.isnan(raw))))
        scaled = law(slide(state.windows[name], raw, most), raw)
    return center(scaled, batch.group) if config.center == "group" else scaled
