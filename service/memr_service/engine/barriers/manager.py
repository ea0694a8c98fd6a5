"""The barriers of a service's runs: opened when first needed, committed batch by batch, dropped with their run."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
from memr_client.errors import Unavailable
from memr_client.schemas import BarrierState

from memr_service.engine.barriers import (
    Barrier,
    BarrierLease,
    Item,
    Member,
    WaitingRoom,
    merged,
    new_barrier,
    rows_of,
    texts_of,
)
from memr_service.engine.run_registry import RunRegistry
from memr_service.engine.run_thread import RunThread, shutting_down
from memr_service.engine.text_thread import TextThread, are_small
from memr_service.run.run import Run
from memr_service.state.record import Record
from memr_service.store.capabilities import Leases

KeepTexts = Callable[[Run, Record, Sequence[str], Sequence[str]], None]
"""Called with each record and the texts of its items: prompts and whole completions."""


class BarrierManager:
    """Where the requests of each run wait for each other. Used in the event loop's thread, except `forget`."""

    def __init__(
        self,
        leases: Leases | None,
        address: str,
        registry: RunRegistry,
        thread: RunThread,
        text_thread: TextThread,
        keep_texts: KeepTexts,
        most_bytes: int,
    ) -> None:
        """Open no barrier yet.

        Args:
            leases: None if no other service shares the store.
            address: where other services reach this one.
            most_bytes: how much memory the requests that wait may hold.
        """
        self.room = WaitingRoom(most_bytes)
        self.lease = BarrierLease(leases, address, self._drop)
        self._registry = registry
        self._thread = thread
        self._text_thread = text_thread
        self._keep_texts = keep_texts
        self._open: dict[int, Barrier] = {}
        self._gone = BarrierState(waiting=0, timeouts=0, late=0)
        self._loop: asyncio.AbstractEventLoop | None = None
        registry.on_forget.append(self.forget)

    async def of(self, run: Run) -> Barrier | None:
        """The run's barrier; None if the run has none.

        Raises:
            HeldElsewhere: another service holds it. Unavailable: the run was changed meanwhile.
        """
        if run.config.barrier == "none":
            return None
        await self.lease.require(run.stored.run_id, run.uid)
        if run.uid not in self._open:
            still_open = await self._thread.on_run(run, _open_groups)
            self._loop = asyncio.get_running_loop()
            if run.uid not in self._open:
                respond, expire = partial(self._respond, run), partial(self._thread.expire, run)
                self._open[run.uid] = new_barrier(run.config, respond, expire, still_open, self.room)
            if not self._registry.holds(run):  # it was forgotten meanwhile, and has to be read again
                self._open.pop(run.uid, None)
                raise _dropped()
        return self._open[run.uid]

    def state(self) -> BarrierState:
        """All barriers together: requests that wait now, and time-outs since the service began."""
        return _together([self._gone, *self._open.values()])

    def state_of(self, run: Run) -> BarrierState | None:
        """The same of one run; None if it has no barrier."""
        if run.config.barrier == "none":
            return None
        return _together([self._open[run.uid]] if run.uid in self._open else [])

    def forget(self, run: Run) -> None:
        """Refuse what waits at the barrier of a run that has to be read again (called in the run thread)."""
        self.lease.forget(run.uid)
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._drop, run.uid)

    async def close(self) -> None:
        """Refuse what waits, and let other services hold the barriers. No new request may come."""
        for barrier in self._open.values():
            barrier.drop(shutting_down())
        await self.lease.close()

    def _drop(self, uid: int) -> None:
        """Refuse what waits at a run's barrier, and forget the barrier."""
        if (barrier := self._open.pop(uid, None)) is not None:
            self._gone = _together([self._gone, barrier]).model_copy(update={"waiting": 0})
            barrier.drop(_dropped())

    async def _respond(
        self, run: Run, members: Sequence[Member], items: Sequence[Item], warnings: Sequence[str]
    ) -> Record | None:
        """Commit the items of members as one batch, and set the members' responses."""
        if not items:
            for member in members:
                member.response.set_result(await self._thread.on_run(run, Run.empty_response))
            return None
        rows = rows_of(items)
        positions: dict[Member, list[tuple[int, int]]] = {member: [] for member in members}
        for position, (member, row) in enumerate(rows):
            positions[member].append((row, position))
        submissions = [
            replace(
                member.submission,
                warnings=[*member.submission.warnings, *warnings],
                items=np.array([position for _, position in sorted(positions[member])], np.int64),
            )
            for member in members
        ]
        prompts, completions = texts_of(rows)
        small = are_small(prompts, completions)
        batch = await self._text_thread.ask(run.stored.run_id, merged(rows, run.config), small=small)
        committed = await self._thread.commit(run, batch, submissions)
        if committed is None or committed.record is None:
            raise _dropped()
        for member, response in zip(members, committed.responses, strict=True):
            if not member.response.done():
                member.response.set_result(response)
        self._keep_texts(run, committed.record, prompts, completions)
        return committed.record


def _open_groups(run: Run) -> list[bytes]:
    return list(run.state.open_groups)


def _together(barriers: Sequence[Barrier | BarrierState]) -> BarrierState:
    return BarrierState(
        waiting=sum(one.waiting for one in barriers),
        timeouts=sum(one.timeouts for one in barriers),
        late=sum(one.late for one in barriers),
    )


def _dropped() -> Unavailable:
    return Unavailable(
        "The run was changed or went elsewhere while the request waited at its barrier; nothing of it was stored.",
        remedy="Send it again with the same request_id.",
        retry_after=1,
    )
