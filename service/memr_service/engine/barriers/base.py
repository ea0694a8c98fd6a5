"""What all barriers have in common.

A `Member` is one request, already encoded, with a future for its response. While it waits, the `WaitingRoom` counts it.
A barrier decides which requests belong together and when they are complete; `respond` (the manager's) then scores and
commits them as one batch and sets their responses. Everything here happens in the event loop's thread and is volatile:
a crash or restore drops what waits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
from memr_client.errors import ProblemError
from memr_client.schemas import RunConfig

from memr_service.engine.barriers.member import Member
from memr_service.engine.barriers.room import WaitingRoom
from memr_service.engine.text_thread import Steps
from memr_service.rewards.guards import foreign_stretches
from memr_service.state.record import Batch, Record

Item = tuple[Member, int]
"""A member and the number of one of its completions."""
Row = tuple[Member, int]
"""A member and the number of one of the rows of its batch."""
Respond = Callable[[Sequence[Member], Sequence[Item], Sequence[str]], Awaitable[Record | None]]
"""Commits the items of members as one batch, in this order, and sets the members' responses, with warnings for all.
Returns the record; None if there are no items."""

LATE = "scored without their siblings, so equal_spread holds them as if a sibling had a reward of 0"
"""What a warning says of late items."""


class Barrier(Protocol):
    """Where the requests of one run wait for each other."""

    timeouts: int
    """Rounds and groups that timed out incomplete."""
    late: int
    """Parts and members that came after that and were scored alone."""

    @property
    def waiting(self) -> int:
        """Requests that wait now."""

    def join(self, member: Member) -> Member:
        """Wait with the requests that the member belongs to.

        Returns:
            The member whose response is this one's: itself, or the waiting request that it is a retry of.
        """

    def leave(self, member: Member) -> None:
        """A caller of a member has left. Without other callers it waits no more, or if it has an id, not much longer.

        Its response is then cancelled. A member that is being answered is not interrupted.
        """

    def drop(self, error: ProblemError) -> None:
        """Refuse all that wait."""


class Waiting:
    """What barriers share: members that wait, timers, and tasks that respond."""

    def __init__(self, respond: Respond, timeout_s: float, room: WaitingRoom) -> None:
        self.timeouts = 0
        self.late = 0
        self._respond = respond
        self._timeout_s = timeout_s
        self._room = room
        self._members: dict[Member, None] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._timers: set[asyncio.TimerHandle] = set()

    @property
    def waiting(self) -> int:
        """Requests that wait now."""
        return len(self._members)

    def join(self, member: Member) -> Member:
        """Wait with the requests that the member belongs to (see `Barrier.join`)."""
        joined = self._take_in(member)
        joined.callers += 1
        self._room.stay(joined)
        self._room.make_room()
        return joined

    def leave(self, member: Member) -> None:
        """A caller of a member has left (see `Barrier.leave`)."""
        member.callers -= 1
        if member.callers or member not in self._members:
            return
        if member.submission.request_id is None:
            self._give_up_on(member)
        else:
            self._room.linger(member, self._give_up_on)

    def _take_in(self, member: Member) -> Member:
        """Let a member wait, or respond to it. Returns the waiting member that it is a retry of, else the member."""
        raise NotImplementedError

    def _forget(self, member: Member) -> None:
        """Undo `_take_in` for a member that waits."""

    def _wait(self, member: Member) -> None:
        self._members[member] = None
        self._room.enter(member, self._refuse)

    def _give_up_on(self, member: Member) -> None:
        self._take_out(member)
        member.response.cancel()

    def _refuse(self, member: Member, error: ProblemError) -> None:
        self._take_out(member)
        _fail(member, error)

    def _take_out(self, member: Member) -> None:
        self._forget(member)
        del self._members[member]
        self._room.leave(member)

    def drop(self, error: ProblemError) -> None:
        """Refuse all that wait."""
        for timer in self._timers:
            timer.cancel()
        for member in self._members:
            self._room.leave(member)
            _fail(member, error)
        self._members.clear()
        self._timers.clear()

    def committed(self, record: Record) -> None:
        """Called with the record of each round."""

    def _retried(self, member: Member) -> Member | None:
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

    def _complete(self, members: Iterable[Member], items: Sequence[Item], warnings: Sequence[str] = ()) -> None:
        """Respond to members, which do not wait any more."""
        members = list(members)
        for member in members:
            self._members.pop(member, None)
            self._room.leave(member)
        self._start(self._respond_to(members, items, warnings))

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _respond_to(self, members: list[Member], items: Sequence[Item], warnings: Sequence[str]) -> None:
        try:
            record = await self._respond(members, items, warnings)
            if record is not None:
                self.committed(record)
        except BaseException as error:
            for member in members:
                _fail(member, error)
            if not isinstance(error, Exception):
                raise


def _fail(member: Member, error: BaseException) -> None:
    """Let a member's request fail, unless it has a response."""
    if not member.response.done():
        member.response.set_exception(error)
        member.response.exception()  # marks it as retrieved, in case nobody waits for it any more


def items_of(member: Member) -> list[Item]:
    """A member's items in their order."""
    return [(member, item) for item in range(len(member.items))]


def rows_of(items: Sequence[Item]) -> list[Row]:
    """The rows of items, in their order."""
    return [(member, row) for member, item in items for row in member.rows(item)]


def group_name(one: Item) -> bytes:
    """The id of the group an item belongs to."""
    member, item = one
    return member.items.group_names[int(member.items.group[item])]


def texts_of(rows: Sequence[Row]) -> tuple[list[str], list[str]]:
    """Prompts and whole texts of rows (n), in their order."""
    prompts = [member.items.prompts[member.completion_of[row]] for member, row in rows]
    return prompts, [member.completions[row] for member, row in rows]


def merged(items: Sequence[Row], config: RunConfig) -> Steps[Batch]:
    """One batch of rows of a run with this config, in their order."""
    batches = [(member.batch, item) for member, item in items]
    names: dict[bytes, int] = {}
    group = [names.setdefault(batch.group_names[int(batch.group[row])], len(names)) for batch, row in batches]
    rows: dict[tuple[bytes, bytes], int] = {}
    prompts = [batch.prompts[batch.prompt_of[item]] for batch, item in batches]
    keys = [batch.keys[item] for batch, item in batches]
    prompt_of = [rows.setdefault((key, row.tobytes()), len(rows)) for key, row in zip(keys, prompts, strict=True)]
    first = np.unique(np.array(prompt_of), return_index=True)[1]
    foreign = None
    if all(batch.foreign is not None for batch, _ in batches):  # siblings may have come with other requests
        texts, completions = texts_of(items)
        foreign = yield from foreign_stretches(completions, texts, np.array(group))
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
        answers=_column([batch.answers for batch, _ in batches], items),
        prompt_ids=_column([batch.prompt_ids for batch, _ in batches], items),
        references=_column([batch.references for batch, _ in batches], items),
        labels=_column([batch.labels for batch, _ in batches], items),
        repeated=_numbers([batch.repeated for batch, _ in batches], items),
        copied=_numbers([batch.copied for batch, _ in batches], items),
        foreign=foreign,
        names_answer=_numbers([batch.names_answer for batch, _ in batches], items),
        truncated=_flags([batch.truncated for batch, _ in batches], items),
        sent=_flags([batch.sent for batch, _ in batches], items),
        late=_flags([batch.late for batch, _ in batches], items),
        equal_spread=equal_spread_of({batch.equal_spread for batch, _ in batches}, config),
        texts=_numbers([batch.texts for batch, _ in batches], items),
        turns_left=_numbers([batch.turns_left for batch, _ in batches], items),
    )


def equal_spread_of(asked: set[float | None], config: RunConfig) -> float | None:
    """The smallest `equal_spread` of requests; for one that sent none (null) the run's own counts."""
    if asked == {None}:
        return None
    unlimited = config.equal_spread is None and config.max_spread is None
    own = None if unlimited else config.equal_spread or 0.0  # under max_spread alone the spread is 0
    return min(spread for spread in (own if one is None else one for one in asked) if spread is not None)


def mark_late(member: Member, items: Iterable[int]) -> None:
    """Mark completions of a member that came after their groups had been answered."""
    late = np.zeros(len(member.batch), bool)
    late[[row for item in items for row in member.rows(item)]] = True
    member.batch = replace(member.batch, late=late)


def _column(columns: list[list[str | None] | None], items: Sequence[Item]) -> list[str | None] | None:
    """An optional column of all items; null for the items of requests that did not send it."""
    if all(column is None for column in columns):
        return None
    return [None if column is None else column[item] for column, (_, item) in zip(columns, items, strict=True)]


def _flags(columns: list[np.ndarray | None], items: Sequence[Item]) -> np.ndarray | None:
    """A column of flags of all items, False for the items of requests that lack it; None if all requests lack it."""
    if all(column is None for column in columns):
        return None
    return np.array(
        [column is not None and bool(column[item]) for column, (_, item) in zip(columns, items, strict=True)]
    )


def _numbers(columns: list[np.ndarray | None], items: Sequence[Item]) -> np.ndarray | None:
    """A column of numbers of all items; None if a request lacks it."""
    numbers = [column[item] for column, (_, item) in zip(columns, items, strict=True) if column is not None]
    return np.array(numbers) if len(numbers) == len(items) else None
