"""What every barrier has in common.

A `Member` is one request, encoded, with a future that will hold its answer. A barrier decides who belongs together and
when they are complete; `settle` (the service's) then scores and commits them as one and answers all of them. Everything
here happens in the event loop's thread, and all of it is volatile: a crash or restore drops those who wait.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from memr_client.errors import ProblemError

from memr_service.engine.inputs import Items
from memr_service.rewards.guards import foreign_stretches
from memr_service.run.run import Submission
from memr_service.state.record import Batch, Record


@dataclass(eq=False)
class Member:
    """One request at a barrier: its items, their batch, and the answer it waits for."""

    items: Items
    batch: Batch
    submission: Submission
    answer: asyncio.Future[bytes] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


Item = tuple[Member, int]
"""A member and one of its items."""
Settle = Callable[[Sequence[Member], Sequence[Item], Sequence[str]], Awaitable[Record | None]]
"""Answers members as one, their items in the order of the seats, with warnings for all; answers the record, if any."""


class Barrier(Protocol):
    """Where requests wait for each other."""

    timeouts: int
    """Rounds and groups answered incomplete."""
    late: int
    """Parts and members that came after that and were answered alone."""

    @property
    def waiting(self) -> int:
        """Requests that wait now."""

    def join(self, member: Member) -> asyncio.Future[bytes]:
        """Take a seat; the future of its answer. A retry of a waiting request gets that one's future."""

    def drop(self, error: ProblemError) -> None:
        """Send everybody away unanswered."""


class Waiting:
    """What barriers have in common: settle, give up on time, send away."""

    def __init__(self, settle: Settle, timeout_s: float) -> None:
        self.timeouts = 0
        self.late = 0
        self._settle = settle
        self._timeout_s = timeout_s
        self._members: dict[Member, None] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._timers: set[asyncio.TimerHandle] = set()

    @property
    def waiting(self) -> int:
        """Requests that wait now."""
        return len(self._members)

    def drop(self, error: ProblemError) -> None:
        """Send everybody away unanswered."""
        for timer in self._timers:
            timer.cancel()
        for member in self._members:
            if not member.answer.done():
                member.answer.set_exception(error)
                member.answer.exception()  # whoever still listens raises it; nobody is no reason to complain
        self._members.clear()
        self._timers.clear()

    def _seated(self, member: Member) -> Member | None:
        """The waiting member that `member` is a retry of."""
        wanted = member.submission.request_id
        if wanted is None:
            return None
        return next((one for one in self._members if one.submission.request_id == wanted), None)

    def _after_timeout(self, give_up: Callable[[], None]) -> asyncio.TimerHandle:
        timer = asyncio.get_running_loop().call_later(self._timeout_s, give_up)
        self._timers.add(timer)
        return timer

    def _stop(self, timer: asyncio.TimerHandle) -> None:
        timer.cancel()
        self._timers.discard(timer)

    def _answer(self, members: Iterable[Member], seats: Sequence[Item], warnings: Sequence[str] = ()) -> None:
        members = list(members)
        for member in members:
            self._members.pop(member, None)
        self._keep(asyncio.get_running_loop().create_task(self._settle_all(members, seats, warnings)))

    def _keep(self, task: asyncio.Task[None]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _settle_all(self, members: list[Member], seats: Sequence[Item], warnings: Sequence[str]) -> None:
        """Settle; a failure is everybody's answer."""
        try:
            record = await self._settle(members, seats, warnings)
            if record is not None:
                self.settled(record)
        except BaseException as error:
            for member in members:
                if not member.answer.done():
                    member.answer.set_exception(error)
                    member.answer.exception()
            if not isinstance(error, Exception):
                raise

    def settled(self, record: Record) -> None:
        """Told of each record that came of a round."""


def seats_of(member: Member) -> list[Item]:
    """A member's items in their order."""
    return [(member, item) for item in range(len(member.batch))]


def group_name(seat: Item) -> bytes:
    """The id of the group an item belongs to."""
    member, item = seat
    return member.batch.group_names[int(member.batch.group[item])]


def texts_of(seats: Sequence[Item]) -> tuple[list[str], list[str]]:
    """Whole completions and prompts of the seats' items, in their order."""
    completions = [member.items.completions[item] for member, item in seats]
    return completions, [member.items.prompts[item] for member, item in seats]


def merged(seats: Sequence[Item]) -> Batch:
    """One batch of the seats' items, in their order."""
    batches = [(member.batch, item) for member, item in seats]
    names: dict[bytes, int] = {}
    group = [names.setdefault(group_name(seat), len(names)) for seat in seats]
    rows: dict[tuple[bytes, bytes], int] = {}
    prompts = [batch.prompts[batch.prompt_of[item]] for batch, item in batches]
    keys = [batch.keys[item] for batch, item in batches]
    prompt_of = [rows.setdefault((key, row.tobytes()), len(rows)) for key, row in zip(keys, prompts, strict=True)]
    first = np.unique(np.array(prompt_of), return_index=True)[1]
    steps = {batch.step for batch, _ in batches if batch.step is not None}
    return Batch(
        keys=keys,
        prompts=np.stack(prompts)[first],
        prompt_of=np.array(prompt_of, "<i4"),
        completions=np.stack([batch.completions[item] for batch, item in batches]),
        outcomes=np.array([batch.outcomes[item] for batch, item in batches]),
        group=np.array(group, "<i4"),
        lengths=np.array([batch.lengths[item] for batch, item in batches], "<i4"),
        group_names=list(names),
        step=max(steps, default=None),
        answers=_column([batch.answers for batch, _ in batches], seats),
        labels=_column([batch.labels for batch, _ in batches], seats),
        repeated=_numbers([batch.repeated for batch, _ in batches], seats),
        copied=_numbers([batch.copied for batch, _ in batches], seats),
        foreign=_foreign(seats, group) if all(batch.foreign is not None for batch, _ in batches) else None,
        names_answer=_numbers([batch.names_answer for batch, _ in batches], seats),
        truncated=_flags([batch.truncated for batch, _ in batches], seats),
        sent=_flags([batch.sent for batch, _ in batches], seats),
    )


def _column(columns: list[list[str | None] | None], seats: Sequence[Item]) -> list[str | None] | None:
    """An optional column over all seats; null for those whose request did not send it."""
    if all(column is None for column in columns):
        return None
    return [None if column is None else column[item] for column, (_, item) in zip(columns, seats, strict=True)]


def _flags(columns: list[np.ndarray | None], seats: Sequence[Item]) -> np.ndarray | None:
    """A column of flags over all seats, False for those whose request has none; None where no request has any."""
    if all(column is None for column in columns):
        return None
    return np.array(
        [column is not None and bool(column[item]) for column, (_, item) in zip(columns, seats, strict=True)]
    )


def _foreign(seats: Sequence[Item], group: list[int]) -> np.ndarray:
    """As `Batch.foreign`, now that all siblings are there."""
    return foreign_stretches(*texts_of(seats), np.array(group))


def _numbers(columns: list[np.ndarray | None], seats: Sequence[Item]) -> np.ndarray | None:
    """A column of numbers over all seats; None where the requests have none."""
    numbers = [column[item] for column, (_, item) in zip(columns, seats, strict=True) if column is not None]
    return np.array(numbers) if len(numbers) == len(seats) else None
