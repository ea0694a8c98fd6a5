"""The barriers of a service's runs: opened when they are needed, settled as one batch each, dropped with their run."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
from memr_client.errors import Unavailable
from memr_client.schemas import BarrierState

from memr_service.engine.barriers import Barrier, BarrierLease, Item, Member, merged, new_barrier, texts_of
from memr_service.engine.run_registry import RunRegistry
from memr_service.engine.run_thread import RunThread, shutting_down
from memr_service.run.run import Run
from memr_service.state.record import Record
from memr_service.store.capabilities import Leases

Written = Callable[[Run, Record, Sequence[str], Sequence[str]], None]
"""Called with each record and the texts of its items: prompts and whole completions."""


class BarrierManager:
    """Where the requests of each run wait for each other. Used in the event loop's thread, but for `forget`."""

    def __init__(
        self, leases: Leases | None, address: str, thread: RunThread, runs: RunRegistry, written: Written
    ) -> None:
        """`address`: where other services find this one."""
        self.keeper = BarrierLease(leases, address, self._drop)
        self._thread = thread
        self._runs = runs
        runs.on_forget.append(self.forget)
        self._written = written
        self._open: dict[int, Barrier] = {}
        self._gone = BarrierState(waiting=0, timeouts=0, late=0)
        self._loop: asyncio.AbstractEventLoop | None = None

    async def of(self, run: Run) -> Barrier | None:
        """Where the run's requests wait for each other, if they do.

        Raises:
            Elsewhere: another service keeps it.
        """
        if run.config.barrier == "none":
            return None
        await self.keeper.require(run.stored.run_id, run.uid)
        if run.uid not in self._open:
            settle, expire = partial(self._settle, run), partial(self._expire, run)
            self._loop = asyncio.get_running_loop()
            self._open[run.uid] = new_barrier(run.config, settle, expire, list(run.state.open_groups))
            if not self._runs.holds(run):  # it has been read anew since it was opened
                self._open.pop(run.uid, None)
                raise _dropped()
        return self._open[run.uid]

    def state(self) -> BarrierState:
        """All together: who waits now, and what went wrong since the service began."""
        return _together([self._gone, *self._open.values()])

    def state_of(self, run: Run) -> BarrierState | None:
        """The same of one run; None if it has no barrier."""
        if run.config.barrier == "none":
            return None
        return _together([self._open[run.uid]] if run.uid in self._open else [])

    def forget(self, run: Run) -> None:
        """Send away who waits at the barrier of a run that is read anew (called in the run thread)."""
        self.keeper.forget(run.uid)
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._drop, run.uid)

    async def leave(self) -> None:
        """Send away who waits for others, and let another service keep the barriers: nobody new is to come here."""
        for barrier in self._open.values():
            barrier.drop(shutting_down())
        await self.keeper.close()

    def _drop(self, uid: int) -> None:
        """Send away who waits at a run's barrier."""
        if (barrier := self._open.pop(uid, None)) is not None:
            self._gone = _together([self._gone, barrier]).model_copy(update={"waiting": 0})
            barrier.drop(_dropped())

    async def _settle(
        self, run: Run, members: Sequence[Member], seats: Sequence[Item], warnings: Sequence[str]
    ) -> Record | None:
        """Score and commit what waited at a barrier as one batch, and answer everybody."""
        if not seats:
            for member in members:
                member.response.set_result(await self._thread.ask(run.nothing))
            return None
        places: dict[Member, list[tuple[int, int]]] = {member: [] for member in members}
        for place, (member, item) in enumerate(seats):
            places[member].append((item, place))
        submissions = [
            replace(
                member.submission,
                warnings=[*member.submission.warnings, *warnings],
                items=np.array([place for _, place in sorted(places[member])], np.int64),
            )
            for member in members
        ]
        committed = await self._thread.commit(run, merged(seats), submissions)
        if committed is None or committed.record is None:
            raise _dropped()
        for member, response in zip(members, committed.responses, strict=True):
            if not member.response.done():
                member.response.set_result(response)
        completions, prompts = texts_of(seats)
        self._written(run, committed.record, prompts, completions)
        return committed.record

    async def _expire(self, run: Run, names: list[bytes]) -> None:
        """Write what there is of groups whose time is up (barrier `snapshot`)."""
        await self._thread.expire(run, names)


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
