"""The behaviour of the released code (presets `official-*`), kept apart so that the main path stays plain.

Item by item: write, then read. An item therefore meets itself: the raw explore of a failure is 0, and a success is part
of its own centroid, so both components reveal the outcome. Other differences from the equations, all reproduced here:

- no epsilon: an item is scaled by (x - min) / (max - min), over the window that includes it;
- a window of equal values gives exploit 1 - distance, unscaled (it can be negative), and explore 0;
- an empty read counts as novelty 1 (exploit 0, explore 1) and does not enter the window;
- explore is 0 while the failure memory holds fewer than `explore_warmup_prompts` prompts; steps play no part.

Not reproduced, because they are defects of bookkeeping: evictions that mix up prompts, a batch stored under its first
prompt, every text encoded separately, prompts identified by equal embeddings.
"""

from __future__ import annotations

import numpy as np
from memr_client.schemas import RunConfig

from memr_service.memory import View, Write, Writes
from memr_service.memory.index import MARGINS
from memr_service.memory.reading import read
from memr_service.rewards.components import exploit, explore
from memr_service.rewards.staging import sides, size
from memr_service.state.record import Batch, Effects
from memr_service.state.state import State
from memr_service.state.window import slide

EMPTY = {"exploit": 0.0, "explore": 1.0}
"""Component -> the scaled value of an item that reads nothing."""


def score(state: State, batch: Batch, *, write: bool) -> Effects:
    """Score a batch as the released code does (see `memr_service.rewards.score`)."""
    config, n = state.config, len(batch)
    success, failure = state.views(batch.completions, batch.step)
    views = {"success": success, "failure": failure}
    writes: dict[str, list[Write]] = {side: [] for side in views}
    counts = {side: np.zeros(n, np.int64) for side in views}
    raw = {name: np.full(n, np.nan) for name in config.weights}
    scaled = {name: np.zeros(n) for name in config.weights}
    windows = dict(state.windows)
    right, wrong = sides(config, batch.outcomes)
    for item in range(n):
        prompt = batch.prompts[batch.prompt_of[item]]
        for side, stored in (("success", right), ("failure", wrong)):
            if write and stored[item]:
                writes[side] += views[side].write(batch.keys[item], prompt, [item])
            reading = read(
                views[side],
                batch.keys[item : item + 1],
                prompt[None],
                np.zeros(1, np.int64),
                config.k,
                config.min_similarity,
            )[0]
            counts[side][item] = reading.counts[0]
            name = "exploit" if side == "success" else "explore"
            if name not in raw or (name == "explore" and failure.prompt_count < config.explore_warmup_prompts):
                continue
            value = _raw(name, views[side], reading.prompts, reading.entries, batch.completions[item], config)
            raw[name][item] = value
            windows[name] = slide(windows[name], np.array([value]), config.window)
            scaled[name][item] = _scaled(name, value, windows[name])
    return Effects(
        success=Writes.of(writes["success"]),
        failure=Writes.of(writes["failure"]),
        raw=raw,
        scaled=scaled,
        rewards=weighted_sum(scaled, config.weights, n),
        support=counts,
        warmup={"explore": max(0, config.explore_warmup_prompts - failure.prompt_count)} if "explore" in raw else {},
        sizes={side: size(view) for side, view in views.items()},
    )


@np.errstate(over="ignore", invalid="ignore")
def weighted_sum(scaled: dict[str, np.ndarray], weights: dict[str, float], n: int) -> np.ndarray:
    """R_mem = sum_c weight_c * scaled_c of n items (n,) (equation 7, law L8), added in the order of the components.

    Args:
        scaled: component -> scaled values (n,).
        weights: component -> its weight.
    """
    reward = np.zeros(n)
    for name, weight in weights.items():
        reward = reward + weight * scaled[name]
    return np.nan_to_num(reward)


def _raw(
    name: str, view: View, prompts: list[int], entries: np.ndarray, completion: np.ndarray, config: RunConfig
) -> float:
    """The raw value of one item over all it reads, itself included; NaN if it reads nothing."""
    if not len(entries):
        return float("nan")
    if name == "exploit":
        total = np.sum([view.sum(prompt) for prompt in prompts], axis=0)
        return float(exploit(completion[None], total[None], np.array([len(entries)]))[0])
    nothing_held_out = np.array([-1])
    return float(explore(completion[None], view.vectors(entries), nothing_held_out, MARGINS[config.storage])[0])


def _scaled(name: str, value: float, window: np.ndarray) -> float:
    """The item's scaled value, by the window that ends with it."""
    if np.isnan(value):
        return EMPTY[name]
    spread = float(window.max() - window.min())
    if spread == 0.0:
        return 1.0 + value if name == "exploit" else 0.0
    return float(value - window.min()) / spread
