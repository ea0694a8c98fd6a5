"""Scoring under the `snapshot` barrier (L11): nobody waits, and nobody reads what came after the group's first item.

An item is scored against what its prompt read when the group's first item came, and answered at once. It is written
when its group has G items, or when the group's time is up. Windows are those of the run as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from memr_client.errors import InvalidRequest
from memr_client.schemas import RunConfig

from memr_service.memory import View, Writes
from memr_service.memory.index import MARGINS
from memr_service.rewards import score as scoring
from memr_service.rewards.components.exploit import exploit
from memr_service.rewards.components.explore import explore
from memr_service.rewards.shaping import pay
from memr_service.state.open_group import FrozenRead, OpenGroup
from memr_service.state.record import Batch, Effects
from memr_service.state.state import State


@dataclass
class _Formation:
    """A group as this batch finds it: what was answered before, and the batch's own items."""

    name: bytes
    pin: FrozenRead
    before: OpenGroup | None
    items: list[int] = field(default_factory=list)


def score(state: State, config: RunConfig, batch: Batch, expired: Sequence[bytes] = ()) -> Effects:
    """What a batch does: its items' rewards, and the writes of the groups that it completes or whose time is up."""
    formations, closed = _form(state, config, batch)
    closed += [_Formation(name, group.pin, group) for name in expired if (group := state.open_groups.get(name))]
    raw = {name: np.full(len(batch), np.nan) for name in config.weights}
    support = {"success": np.zeros(len(batch), np.int64), "failure": np.zeros(len(batch), np.int64)}
    for one in formations:
        if one.items:
            _measure(one, batch, config, raw, support)
    paid = pay(state, config, batch, raw, {})
    done = {item for one in closed for item in one.items}
    success, failure = _write(state, config, batch, closed)
    return Effects(
        success=success[0],
        failure=failure[0],
        raw=paid.raw,
        scaled=paid.scaled,
        rewards=paid.rewards,
        rejected=paid.rejected,
        support=support,
        warmup=scoring.warmup_left(state, config),
        sizes={"success": scoring.size(success[1]), "failure": scoring.size(failure[1])},
        closes=[one.name for one in closed],
        left_open=np.array([item for item in range(len(batch)) if item not in done], np.int64),
    )


def _form(state: State, config: RunConfig, batch: Batch) -> tuple[list[_Formation], list[_Formation]]:
    """Put the batch's items into their groups, one formation of an id after another; all of them, and the full ones."""
    open_now: dict[bytes, _Formation] = {}
    formations, closed = [], []
    used: set[bytes] = set()
    for item, number in enumerate(batch.group.tolist()):
        name = batch.group_names[number]
        one = open_now.get(name)
        if one is None:
            before = None if name in used else state.open_groups.get(name)
            pin = (
                before.pin if before else state.pin(batch.keys[item], batch.prompts[batch.prompt_of[item]], batch.step)
            )
            one = open_now[name] = _Formation(name, pin, before)
            formations.append(one)
            used.add(name)
        first = one.before.key if one.before else batch.keys[one.items[0] if one.items else item]
        if batch.keys[item] != first:
            raise InvalidRequest(
                f"item {item} has another prompt than its group's first item.",
                value=item,
                limit="one prompt for each group under the barrier 'snapshot'",
                remedy="Give each prompt a group_id of its own.",
            )
        one.items.append(item)
        if len(one.items) + len(one.before or ()) == config.group_size:
            closed.append(open_now.pop(name))
    return formations, closed


def _measure(
    one: _Formation, batch: Batch, config: RunConfig, raw: dict[str, np.ndarray], support: dict[str, np.ndarray]
) -> None:
    """Raw values and support of a formation's own items."""
    items, pin = np.array(one.items), one.pin
    completions = batch.completions[items]
    support["success"][items], support["failure"][items] = pin.count, pin.failed
    if "exploit" in raw:
        counts = np.full(len(items), pin.count)
        raw["exploit"][items] = exploit(completions, np.tile(pin.total, (len(items), 1)), counts)
    if "explore" in raw and not pin.waits:
        nobody = np.full(len(items), -1)
        raw["explore"][items] = explore(completions, pin.failures, nobody, MARGINS[config.storage])


def _write(
    state: State, config: RunConfig, batch: Batch, closed: list[_Formation]
) -> tuple[tuple[Writes, View], tuple[Writes, View]]:
    """Stage the closed groups' items in order; `Writes.item` counts the batch's items first, then those from before."""
    pool = state.pool(batch, [one.name for one in closed])
    order, place = [], len(batch)
    for one in closed:
        count = len(one.before or ())
        order += [*range(place, place + count), *one.items]
        place += count
    items = np.array(order, np.int64)
    right, wrong = scoring.sides(config, pool.outcomes)
    views = state.views(pool.completions, batch.step)
    writes = [
        view.write_all(items[mask[items]], pool.keys, pool.prompts)
        for view, mask in zip(views, (right, wrong), strict=True)
    ]
    return (writes[0], views[0]), (writes[1], views[1])
