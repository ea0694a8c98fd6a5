"""From raw values to rewards: guards, windows, weights and the sum (laws L6 and L8)."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
from memr_client.schemas import BandedNovelty, Component, ErrorCluster, OutcomeUcb, RunConfig

from memr_service.rewards import guards
from memr_service.rewards.groups import center
from memr_service.rewards.repair import MASKED
from memr_service.state.record import Batch
from memr_service.state.state import State
from memr_service.state.window import scale, slide, window_size

ENOUGH = 2
"""A request needs this many right completions before a warning that most were rejected is worth giving."""
WINDOWED = {"exploit", "explore", "contrast", "value", "shuffled"}
"""Components whose raw values are scaled by a window. The others have a scale of their own: scaled = raw, 0 if NaN."""


@dataclass(frozen=True)
class Shaped:
    """The rewards of n items, and what they are made of."""

    raw: dict[str, np.ndarray]
    """Component -> raw values (n,); NaN also where a guard rejected the item."""
    scaled: dict[str, np.ndarray]
    """Component -> scaled values (n,)."""
    rewards: np.ndarray
    """(n,)."""
    rejected: list[list[str]]
    """For each item the "component:reason" of its rejections; empty if no item was rejected."""


@np.errstate(over="ignore", invalid="ignore")
def shape(state: State, batch: Batch, raw: dict[str, np.ndarray], nearest_prompts: dict[str, np.ndarray]) -> Shaped:
    """R_mem = sum_c weight_c * scaled_c, after guards (equation 7, law L8).

    For each component: its guards reject items, its window scales the rest (L6), its weight, annealing and cap give its
    contribution. The sum is then held to `max_spread` and `equal_spread` within each group. Masked items earn nothing.

    Args:
        raw: component -> raw values (n,), in the order of the config.
        nearest_prompts: component -> cosine of the nearest prompt read (n,), where a guard needs it.
    """
    config = state.config
    reasons: list[list[str]] = [[] for _ in range(len(batch))]
    kept, scaled, rewards = {}, {}, np.zeros(len(batch))
    for name, values in raw.items():
        options = options_of(config, name)
        rejected = np.zeros(len(batch), bool)
        masked = () if batch.masked is None else ((MASKED, batch.masked),)
        for reason, mask in (*masked, *guards.rejections(config, options.guards, batch, nearest_prompts.get(name))):
            rejected |= mask
            for item in np.flatnonzero(mask).tolist():
                reasons[item].append(f"{name}:{reason}")
        kept[name] = np.where(rejected, np.nan, values)
        scaled[name] = _scaled(state, name, options, kept[name], rejected, batch)
        rewards = rewards + contribution(state, options, scaled[name], batch)
    finite = {name: _finite(values) for name, values in scaled.items()}  # a sum of huge outcomes may overflow
    held = _finite(held_to_spread(config, rewards, batch))
    if batch.masked is not None:
        held = np.where(batch.masked, 0.0, held)
    return Shaped(kept, finite, held, reasons if any(reasons) else [])


def held_to_spread(config: RunConfig, rewards: np.ndarray, batch: Batch) -> np.ndarray:
    """The rewards (n,) within the largest spread that a group of unequal or of equal outcomes may have."""
    held = rewards
    if config.max_spread is not None:
        threshold = config.success_threshold if config.spread_of == "verdicts" else None
        held = guards.spread_cap(rewards, batch.outcomes, batch.group, config.max_spread, threshold)
    most = config.equal_spread if batch.equal_spread is None else batch.equal_spread
    if most is not None:
        equal = guards.equal_outcomes(batch.outcomes, batch.group)
        held = np.where(equal, guards.spread_limit(rewards, batch.group, most, batch.late), held)
    return held


@np.errstate(over="ignore", invalid="ignore")
def contribution(state: State, options: Component, scaled: np.ndarray, batch: Batch) -> np.ndarray:
    """What a component adds to the rewards (n,): weight * scaled, paid to the side that earns it, annealed, capped."""
    weighted = options.weight * scaled
    if options.guards.earned_by is not None:
        other = guards.only_if(options.guards.earned_by, batch.outcomes > state.config.success_threshold)
        weighted = np.where(other, options.weight * least(options), weighted)
    if options.guards.anneal is not None:
        step = batch.step if batch.step is not None else state.steps_committed
        weighted = guards.anneal(step, *options.guards.anneal) * weighted
    if options.guards.cap is not None:
        weighted = guards.cap(weighted, batch.outcomes, options.guards.cap)
    return _finite(weighted)


def rejection_warnings(config: RunConfig, batch: Batch, rejected: list[list[str]]) -> list[str]:
    """A warning if guards or write gates rejected most right completions: their limits may be those of another task.

    A record keeps its warnings, and its chain covers them.
    """
    right = np.flatnonzero(batch.outcomes > config.success_threshold).tolist() if rejected else []
    turned_away = [rejected[item] for item in right if rejected[item]]
    if len(right) < ENOUGH or len(turned_away) <= len(right) / 2:
        return []
    (reason, _), *_ = Counter(one.partition(":")[2] for reasons in turned_away for one in set(reasons)).most_common(1)
    return [
        f"{len(turned_away)} of {len(right)} right completions were rejected, mostly as {reason!r}: the limits may not "
        "suit this task. `memr calibrate` proposes limits by what the run has seen; the preset 'memory-r+' has none."
    ]


def least(options: Component) -> float:
    """The smallest scaled value of a component: 0, or the lower end of one that pays penalties.

    A rejected item gets it, so that being rejected is never better than being scored.
    """
    if isinstance(options, ErrorCluster):
        return -options.beta
    if isinstance(options, OutcomeUcb):
        return -options.baseline
    return -1.0 if isinstance(options, BandedNovelty) else 0.0


def _finite(values: np.ndarray) -> np.ndarray:
    """The values, where not all are finite with 0 for NaN and the largest number for an infinite one."""
    return values if np.isfinite(values).all() else np.nan_to_num(values)


def options_of(config: RunConfig, name: str) -> Component:
    """The options of a component of a resolved config."""
    options = config.components[name]  # type: ignore[index]
    assert isinstance(options, Component)
    return options


def _scaled(
    state: State, name: str, options: Component, raw: np.ndarray, rejected: np.ndarray, batch: Batch
) -> np.ndarray:
    """A component's scaled values (n,), from its raw values (n,) and the items that its guards rejected (n,) bool."""
    config = state.config
    size = window_size(config, name)
    if name not in WINDOWED:
        scaled = np.where(rejected, least(options), np.nan_to_num(raw, nan=0.0))
    elif options.bounds == "min-max":
        scaled = scale(state.windows[name], raw, size, config.scaling)
    else:
        window = slide(state.windows[name], raw, max(size, int(np.count_nonzero(~np.isnan(raw)))))
        trimmed = options.bounds == "p5-p95"
        scaled = guards.trimmed(window, raw, options.tails) if trimmed else guards.rank(window, raw)
    return center(scaled, batch.group) if config.center == "group" else scaled
