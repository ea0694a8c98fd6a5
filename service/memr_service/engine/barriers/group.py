"""The barrier `group`: completions that are sent one by one, or a few at a time, are scored group by group."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from memr_client.errors import ProblemError

from memr_service.engine.barriers.base import LATE, Item, Respond, Waiting, group_name, items_of, mark_late
from memr_service.engine.barriers.member import Member
from memr_service.engine.barriers.room import WaitingRoom

REMEMBERED = 1024
"""Timed-out groups whose late members are still recognised."""
LATE_S = 60.0
"""Seconds for which a timed-out group waits for late members (or its time-out, if longer). After that, its id names a
new group."""


@dataclass(eq=False)
class _Group:
    name: bytes
    number: int
    items: list[Item]
    timer: asyncio.TimerHandle | None = None


class GroupBarrier(Waiting):
    """Scores a request when each of its groups has `size` items, together with all requests that share a group."""

    def __init__(self, respond: Respond, timeout_s: float, room: WaitingRoom, size: int) -> None:
        super().__init__(respond, timeout_s, room)
        self.size = size
        self._numbers = itertools.count()
        self._forming: dict[bytes, _Group] = {}
        self._groups: dict[Member, list[_Group]] = {}
        self._alone: dict[Member, list[Item]] = {}
        self._missed: OrderedDict[bytes, tuple[int, float]] = OrderedDict()

    def _take_in(self, member: Member) -> Member:
        """Put each item into its group, and wait until these groups are complete."""
        if (waiting := self._retried(member)) is not None:
            return waiting
        self._wait(member)
        self._groups[member], self._alone[member] = [], []
        for item in items_of(member):
            name = group_name(item)
            if self._is_late(name):
                self._alone[member].append(item)
            else:
                self._add(member, item, name)
        if late := self._alone[member]:
            self.late += 1
            mark_late(member, (item for _, item in late))
        members, groups = self._tied(member)
        if all(len(group.items) == self.size for group in groups):
            self._close(members, groups)
        return member

    def _forget(self, member: Member) -> None:
        """Take the member's items out of their groups. A full group forms again, unless its id names a newer one."""
        del self._alone[member]
        for group in self._groups.pop(member):
            group.items = [item for item in group.items if item[0] is not member]
            if group.items:
                self._forming.setdefault(group.name, group)
                continue
            if group.timer is not None:
                self._stop(group.timer)
            if self._forming.get(group.name) is group:
                del self._forming[group.name]

    def drop(self, error: ProblemError) -> None:
        """Refuse all that wait."""
        super().drop(error)
        for state in (self._forming, self._groups, self._alone):
            state.clear()

    def _add(self, member: Member, item: Item, name: bytes) -> None:
        group = self._forming.get(name)
        if group is None:
            group = self._forming[name] = _Group(name, next(self._numbers), [])
            group.timer = self._after_timeout(partial(self._give_up, group))
        group.items.append(item)
        if group not in self._groups[member]:
            self._groups[member].append(group)
        if len(group.items) == self.size:
            del self._forming[name]

    def _is_late(self, name: bytes) -> bool:
        """Whether an item belongs to a group that was scored without it."""
        if name in self._forming or name not in self._missed:
            return False
        left, until = self._missed[name]
        if left and time.monotonic() < until:
            self._missed[name] = (left - 1, until)
            return True
        del self._missed[name]
        return False

    def _tied(self, member: Member) -> tuple[list[Member], list[_Group]]:
        """All requests that share a group with a member, directly or through others, and their groups, oldest first."""
        members, groups = {member}, set(self._groups[member])
        grown = True
        while grown:
            grown = False
            for group in list(groups):
                for other, _ in group.items:
                    if other not in members:
                        members.add(other)
                        groups |= set(self._groups[other])
                        grown = True
        in_order = [one for one in self._members if one in members]
        return in_order, sorted(groups, key=lambda group: group.number)

    def _give_up(self, late: _Group) -> None:
        members, groups = self._tied(late.items[0][0])
        short = [group for group in groups if len(group.items) < self.size]
        self.timeouts += len(short)
        for group in short:
            until = time.monotonic() + max(LATE_S, self._timeout_s)
            self._missed[group.name] = (self.size - len(group.items), until)
        while len(self._missed) > REMEMBERED:
            self._missed.popitem(last=False)
        there = ", ".join(f"{len(group.items)} of {self.size}" for group in short)
        self._close(members, groups, [f"barrier timed out after {self._timeout_s:g} s with groups of {there}"])

    def _close(self, members: list[Member], groups: list[_Group], warnings: Sequence[str] = ()) -> None:
        items = [item for group in groups for item in _by_index(group.items)]
        for group in groups:
            if group.timer is not None:
                self._stop(group.timer)
            if self._forming.get(group.name) is group:
                del self._forming[group.name]
        late = [item for member in members for item in self._alone.pop(member)]
        if late:
            warnings = [*warnings, f"{len(late)} of the completions came after their groups had timed out: {LATE}"]
        for member in members:
            del self._groups[member]
        self._complete(members, items + late, warnings)


def _by_index(items: list[Item]) -> list[Item]:
    """A group's items by `index` if all have one, else in order of arrival."""
    if any(member.items.request.index is None for member, _ in items):
        return items
    return sorted(items, key=lambda one: one[0].items.request.index[one[1]])  # type: ignore[index]
