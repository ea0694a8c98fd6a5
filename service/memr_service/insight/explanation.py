"""How an item's reward came about: what it read, where its values lay in the windows, what the guards did."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import numpy as np
from memr_client.schemas import Component, ComponentTerm, Explanation, MemoryRead, Neighbour, RunConfig, WindowPlace

from memr_service.insight.account import account
from memr_service.insight.limits import limits
from memr_service.memory import View, reading
from memr_service.memory.cosine import exact_cosines
from memr_service.rewards import staging, write_gates
from memr_service.rewards.components import exploit
from memr_service.rewards.guards.scaling import TRIMMED
from memr_service.rewards.shaping import WINDOWED, contribution, options_of
from memr_service.rewards.zeros import MEMORY_OF, causes, why_zero
from memr_service.state.record import Batch, Effects, Record
from memr_service.state.state import SIDES, State
from memr_service.state.window import slide, window_size


def explain(
    run_id: str,
    state: State,
    batch: Batch,
    item: int,
    effects: Effects,
    readings: dict[str, MemoryRead],
) -> Explanation:
    """The explanation of one item of a batch, without texts and steps, which are not in the batch.

    Args:
        state: the state on which the batch was scored.
        effects: the result of scoring it.
        readings: what the item read in each memory (`read`).
    """
    paid = {
        name: contribution(state, options_of(state.config, name), effects.scaled[name], batch) for name in effects.raw
    }
    terms = {name: _term(state, batch, item, effects, name, float(paid[name][item]), readings) for name in paid}
    reward = float(effects.rewards[item])
    limited = {state.config.max_spread, state.config.equal_spread, batch.equal_spread} != {None}
    held = sum(term.contribution for term in terms.values()) - reward if limited else 0.0
    return Explanation(
        run_id=run_id,
        branch=state.branch,
        position=state.position,
        prompt=None,
        completion=None,
        outcome=float(batch.outcomes[item]),
        reward=reward,
        why_zero=why_zero(state.config, batch, effects, np.array([item])),
        account=account(state, batch, item, terms, _sum(paid.values()), reward),
        components=terms,
        held_to_spread=held,
        warmup=effects.warmup,
        success=readings["success"],
        failure=readings["failure"],
    )


def read(state: State, batch: Batch, item: int, most: int, *, write: bool, first_serial: int) -> dict[str, MemoryRead]:
    """What an item of a batch reads in each memory.

    Args:
        most: the most neighbours to report.
        write: whether the batch is stored, and read in the run's order (L9); otherwise the memories are read as they
            are.
        first_serial: serial number of the batch's item 0.
    """
    config = state.config
    views = dict(zip(SIDES, state.views(batch.completions, batch.step), strict=True))
    hold = write and config.order == "hold_one_out"
    if hold or (write and config.order == "official"):
        written = np.ones(len(batch), bool) if hold else np.arange(len(batch)) <= item
        blocked = write_gates.blocked(config, batch, *staging.sides(config, batch.outcomes))
        staging.stage(config, batch, blocked | {"later": ~written}, views["success"], views["failure"])
    return {side: _reading(view, config, batch, item, most, hold, first_serial) for side, view in views.items()}


def read_frozen(state: State, record: Record, item: int, most: int) -> dict[str, MemoryRead]:
    """What an item under the barrier `snapshot` reads: the memories as they are in `state`, for its prompt only."""
    batch = record.batch
    alone = replace(
        batch,
        keys=[batch.keys[item]],
        prompts=batch.prompts[batch.prompt_of[item]][None],
        prompt_of=np.zeros(1, "<i4"),
        completions=batch.completions[item : item + 1],
        outcomes=batch.outcomes[item : item + 1],
    )
    return read(state, alone, 0, most, write=False, first_serial=record.first_serial + item)


def _reading(
    view: View, config: RunConfig, batch: Batch, item: int, most: int, hold: bool, first_serial: int
) -> MemoryRead:
    found = reading.read(
        view, batch.keys, batch.prompts, batch.prompt_of, config.prompts_read, config.min_similarity, hold_one_out=hold
    )
    own = next(one for one in found if item in one.items)
    held = int(own.held[np.flatnonzero(own.items == item)[0]])
    units = np.ones(len(own.entries), np.int64) if own.units is None else own.units.copy()
    if held >= 0:
        units[held] -= 1
    left = units > 0
    entries, units, completion = own.entries[left], units[left], batch.completions[item]
    if not len(entries):
        return MemoryRead(
            prompts=0, completions=0, entries=0, centroid_distance=None, largest_cosine=None, neighbours=[]
        )
    vectors = view.vectors(entries)
    cosines = exact_cosines(completion, vectors)
    serials, prompt = view.serials(entries, first_serial), view.find(batch.keys[item])
    of_prompt = set(view.entries(prompt)) if prompt is not None else set()
    outcomes = batch.outcomes[np.maximum(~entries, 0)]
    outcomes[entries >= 0] = view.memory.outcomes[entries[entries >= 0]]
    nearest = np.argsort(-cosines, kind="stable")[:most].tolist()
    total = (units[:, None] * vectors.astype(np.float64)).sum(axis=0)
    return MemoryRead(
        prompts=len(own.prompts),
        completions=int(units.sum()),
        entries=len(entries),
        nearest_prompt=float(reading.nearest_prompt(view, [own], batch.keys, batch.prompts[batch.prompt_of])[item]),
        centroid_distance=-float(exploit(completion[None], total[None], units.sum()[None])[0]),
        largest_cosine=float(cosines.max()),
        neighbours=[
            Neighbour(
                serial=int(serials[at]),
                similarity=float(cosines[at]),
                outcome=float(outcomes[at]),
                count=int(units[at]),
                own_prompt=int(entries[at]) in of_prompt,
            )
            for at in nearest
        ],
    )


def _term(
    state: State,
    batch: Batch,
    item: int,
    effects: Effects,
    name: str,
    paid: float,
    readings: dict[str, MemoryRead],
) -> ComponentTerm:
    options, prefix = options_of(state.config, name), f"{name}:"
    raw, scaled = float(effects.raw[name][item]), float(effects.scaled[name][item])
    reasons = effects.rejected[item] if effects.rejected else []
    rejected = [reason.removeprefix(prefix) for reason in reasons if reason.startswith(prefix)]
    side = MEMORY_OF.get(name)
    found = limits(
        state.config,
        options,
        batch,
        item,
        step=batch.step if batch.step is not None else state.steps_committed,
        rejected=rejected,
        scaled=scaled,
        nearest=None if side is None else readings[side].nearest_prompt,
    )
    return ComponentTerm(
        raw=None if np.isnan(raw) else raw,
        scaled=scaled,
        weight=options.weight,
        contribution=paid,
        window=None if np.isnan(raw) else _window(state, options, name, effects.raw[name], item),
        rejected=rejected,
        limits=list(found),
        why_zero=None if paid else _why_zero(state.config, batch, item, effects, name),
    )


def _why_zero(config: RunConfig, batch: Batch, item: int, effects: Effects, name: str) -> str | None:
    """The first cause of a component's paying an item nothing."""
    asked = np.arange(len(batch)) == item
    return next((cause for cause, mask in causes(config, batch, effects, name, asked) if mask[item]), None)


def _window(state: State, options: Component, name: str, raw: np.ndarray, item: int) -> WindowPlace | None:
    """The window that scaled an item's value; None for a component without one.

    It ends with the item, or with the request if the request was scaled at once.
    """
    if name not in WINDOWED:
        return None
    size = window_size(state.config, name)
    at_once = state.config.scaling == "request" or options.bounds != "min-max"
    seen = raw if at_once else raw[: item + 1]
    most = max(size, int(np.count_nonzero(~np.isnan(seen)))) if at_once else size
    window = np.sort(slide(state.windows[name], seen, most))
    out = len(window) // TRIMMED if options.bounds == "p5-p95" else 0
    return WindowPlace(count=len(window), low=float(window[out]), high=float(window[len(window) - 1 - out]))


@np.errstate(over="ignore", invalid="ignore")
def _sum(paid: Collection[np.ndarray]) -> np.ndarray:
    return np.asarray(np.sum([*paid], axis=0))
