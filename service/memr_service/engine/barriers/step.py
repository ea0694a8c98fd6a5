"""The barrier `step`: the parts of a training step, one per rank, are scored together."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

from memr_client.errors import InvalidRequest, ProblemError
from memr_client.schemas import RewardRequest

from memr_service.engine.barriers.base import LATE, Respond, Waiting, items_of, mark_late
from memr_service.engine.barriers.member import Member
from memr_service.engine.barriers.room import WaitingRoom

REMEMBERED = 1024
"""Timed-out steps whose late parts are still recognised."""


MOST_NAMED = 10
"""Missing parts that a warning names."""


@dataclass
class _Round:
    parts: int
    members: dict[int, Member]
    timer: asyncio.TimerHandle


@dataclass
class _Missed:
    """A round that timed out. A part that is not in `seen` is late, once."""

    parts: int
    seen: set[int]

    def is_late(self, part: int) -> bool:
        return part < self.parts and part not in self.seen


class StepBarrier(Waiting):
    """Scores the parts of a step when the last one has come, ordered by part."""

    def __init__(self, respond: Respond, timeout_s: float, room: WaitingRoom) -> None:
        super().__init__(respond, timeout_s, room)
        self._rounds: dict[int, _Round] = {}
        self._missed: OrderedDict[int, _Missed] = OrderedDict()

    def _take_in(self, member: Member) -> Member:
        """Wait for the other parts of the step.

        Raises:
            InvalidRequest: step, part or parts is missing; `parts` differs from the round's; the part has come with
                another body.
        """
        step, part, parts = _step_part_parts(member.items.request)
        missed = self._missed.get(step)
        if step not in self._rounds and missed is not None and missed.is_late(part):
            missed.seen.add(part)
            self.late += 1
            mark_late(member, range(len(member.items)))
            said = f"part {part} came after step {step} had timed out: answered alone. Its completions are {LATE}"
            self._complete([member], items_of(member), [said])
            return member
        if step not in self._rounds:
            self._missed.pop(step, None)
            self._rounds[step] = _Round(parts, {}, self._after_timeout(lambda: self._give_up(step)))
        round_ = self._rounds[step]
        if parts != round_.parts:
            raise _refused(f"step {step} waits for {round_.parts} parts, not {parts}", parts, round_.parts)
        if part in round_.members:
            first = round_.members[part]
            if first.submission.body_digest != member.submission.body_digest:
                raise _refused(
                    f"part {part} of step {step} is there already, with another body", part, "one body a part"
                )
            return first
        round_.members[part] = member
        self._wait(member)
        if len(round_.members) == parts:
            self._close(step)
        return member

    def _forget(self, member: Member) -> None:
        """Free the member's seat; a round without members ends."""
        step, part, _ = _step_part_parts(member.items.request)
        round_ = self._rounds[step]
        del round_.members[part]
        if not round_.members:
            self._stop(self._rounds.pop(step).timer)

    def drop(self, error: ProblemError) -> None:
        """Refuse all that wait."""
        super().drop(error)
        self._rounds.clear()

    def _give_up(self, step: int) -> None:
        round_ = self._rounds[step]
        self.timeouts += 1
        self._missed[step] = _Missed(round_.parts, set(round_.members))
        while len(self._missed) > REMEMBERED:
            self._missed.popitem(last=False)
        there = f"{len(round_.members)} of {round_.parts} parts of step {step}"
        self._close(step, [f"barrier timed out after {self._timeout_s:g} s with {there}; missing: {_missing(round_)}"])

    def _close(self, step: int, warnings: Sequence[str] = ()) -> None:
        round_ = self._rounds.pop(step)
        self._stop(round_.timer)
        members = [round_.members[part] for part in sorted(round_.members)]
        self._complete(members, [item for member in members for item in items_of(member)], warnings)


def _missing(round_: _Round) -> str:
    """The first parts that have not come, and how many more there are."""
    absent = (part for part in range(round_.parts) if part not in round_.members)
    named = [*islice(absent, MOST_NAMED)]
    more = round_.parts - len(round_.members) - len(named)
    return f"{named} and {more} more" if more else str(named)


def _step_part_parts(request: RewardRequest) -> tuple[int, int, int]:
    if request.step is None or request.part is None or request.parts is None:
        raise InvalidRequest(
            "The run's barrier is 'step': a request must say which part of which step it is.",
            value={"step": request.step, "part": request.part, "parts": request.parts},
            limit="step, part (rank) and parts (world size)",
            remedy="Send all three, or use a run without a barrier.",
        )
    return request.step, request.part, request.parts


def _refused(what: str, value: object, limit: object) -> InvalidRequest:
    return InvalidRequest(
        f"{what[0].upper()}{what[1:]}.",
        value=value,
        limit=limit,
        remedy="Send the same world size from every rank, one request for each, and a retry with its body unchanged.",
    )
