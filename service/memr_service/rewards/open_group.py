"""Scoring under the `snapshot` barrier (L11): no request waits, and no item reads what came after its group began.

An item is scored against what its prompt read when the group's first item came, and answered at once. It is stored
when its group has G items, or when the group's time is up. Windows are those of the run as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from memr_client.errors import InvalidRequest

from memr_service.memory import View, Writes
from memr_service.memory.index import MARGINS
from memr_service.rewards.components import exploit, explore
from memr_service.rewards.context import warmup_left
from memr_service.rewards.repair import instead, of_prompt
from memr_service.rewards.shaping import shape
from memr_service.rewards.staging import sides, size
from memr_service.state.open_group import FrozenRead, OpenGroup, Overruled
from memr_service.state.record import Batch, Effects, Repairs
from memr_service.state.state import State


@dataclass
class _Group:
    """A group as this batch finds it: its frozen read, its items from earlier batches, and this batch's own items."""

    name: bytes
    frozen: FrozenRead
    before: OpenGroup | None
    overruled: Overruled | None = None
    """What takes the place of its prompt's reference."""
    items: list[int] = field(default_factory=list)


def score(state: State, batch: Batch, expired: Sequence[bytes] = ()) -> Effects:
    """The rewards of a batch's items, and the writes of the groups that it completes or whose time is up.

    Args:
        expired: ids of the open groups whose time is up.

    Raises:
        InvalidRequest: a group has items of two prompts.
    """
    groups, closed = _by_group(state, batch)
    repair = _repairs(state, batch, groups)
    batch = batch if repair is None else repair.of(batch)
    closed += [_Group(name, group.read, group) for name in expired if (group := state.open_groups.get(name))]
    raw = {name: np.full(len(batch), np.nan) for name in state.config.weights}
    support = {"success": np.zeros(len(batch), np.int64), "failure": np.zeros(len(batch), np.int64)}
    for one in groups:
        if one.items:
            _evaluate(one, batch, MARGINS[state.config.storage], raw, support)
    shaped = shape(state, batch, raw, {})
    done = {item for one in closed for item in one.items}
    success, failure = _write(state, batch, closed)
    return Effects(
        success=success[0],
        failure=failure[0],
        raw=shaped.raw,
        scaled=shaped.scaled,
        rewards=shaped.rewards,
        rejected=shaped.rejected,
        support=support,
        warmup=warmup_left(state),
        sizes={"success": size(success[1]), "failure": size(failure[1])},
        closes=[one.name for one in closed],
        left_open=np.array([item for item in range(len(batch)) if item not in done], np.int64),
        repair=repair,
    )


def _repairs(state: State, batch: Batch, groups: Sequence[_Group]) -> Repairs | None:
    """The outcomes that count: a group keeps what was decided when its first item came."""
    rule = state.config.repair
    if rule is None:
        return None
    found: list[Overruled | None] = [None] * len(batch)
    for one in groups:
        if one.before is None and one.items:
            one.overruled = of_prompt(state, batch, one.items)
        for item in one.items:
            found[item] = one.before.overruled if one.before else one.overruled
    return instead(batch, rule, found)


def _by_group(state: State, batch: Batch) -> tuple[list[_Group], list[_Group]]:
    """Put the batch's items into their groups: all groups, and those that are full.

    Groups with one id form one after another: when one is full, the next item of that id begins another.
    """
    forming: dict[bytes, _Group] = {}
    groups, closed = [], []
    used: set[bytes] = set()
    for item, number in enumerate(batch.group.tolist()):
        name = batch.group_names[number]
        one = forming.get(name)
        if one is None:
            before = None if name in used else state.open_groups.get(name)
            frozen = (
                before.read
                if before
                else state.freeze_read(batch.keys[item], batch.prompts[batch.prompt_of[item]], batch.step)
            )
            one = forming[name] = _Group(name, frozen, before)
            groups.append(one)
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
        if len(one.items) + len(one.before or ()) == state.config.group_size:
            closed.append(forming.pop(name))
    return groups, closed


def _evaluate(
    one: _Group, batch: Batch, margin: float, raw: dict[str, np.ndarray], support: dict[str, np.ndarray]
) -> None:
    """Fill in the raw values and the support of a group's own items."""
    items, frozen = np.array(one.items), one.frozen
    completions = batch.completions[items]
    support["success"][items], support["failure"][items] = frozen.count, frozen.failed
    if "exploit" in raw:
        counts = np.full(len(items), frozen.count)
        raw["exploit"][items] = exploit(completions, np.tile(frozen.total, (len(items), 1)), counts)
    if "explore" in raw and not frozen.warmup_left:
        nothing_held_out = np.full(len(items), -1)
        raw["explore"][items] = explore(completions, frozen.failures, nothing_held_out, margin)


def _write(state: State, batch: Batch, closed: list[_Group]) -> tuple[tuple[Writes, View], tuple[Writes, View]]:
    """Stage the closed groups' items in order; `Writes.item` counts the batch's items first, then those from before."""
    pool = state.writable(batch, [one.name for one in closed])
    order, position = [], len(batch)
    for one in closed:
        count = len(one.before or ())
        masked = batch.masked is not None and any(batch.masked[one.items])
        if not masked and not (one.before and one.before.masked):
            order += [*range(position, position + count), *one.items]
        position += count
    items = np.array(order, np.int64)
    right, wrong = sides(state.config, pool.outcomes)
    views = state.views(pool.completions, batch.step)
    writes = [
        view.write_all(items[mask[items]], pool.keys, pool.prompts)
        for view, mask in zip(views, (right, wrong), strict=True)
    ]
    return (writes[0], views[0]), (writes[1], views[1])
