"""Who keeps a run's barrier where several services share its store: those who wait for each other meet in one place.

The first service that is asked keeps it, until it ends or has not been heard of for `LEASE_S`. The others pass requests
on to it. Who waits when a keeper dies gets no answer, and forms the round again at the next keeper (L11). A keeper that
was only slow cannot commit any more once there is another: the store refuses it.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable

from memr_client.errors import ProblemError, Unavailable

from memr_service.store.capabilities import LEASE_S, Leases


class HeldElsewhere(Unavailable):
    """Another service keeps the barrier of run `uid`, at `address` (empty: it has none that others reach)."""

    def __init__(self, run_id: str, uid: int, address: str) -> None:
        super().__init__(
            f"The barrier of run {run_id!r} is kept by another service, {address or 'which has no address'}.",
            value=address,
            remedy="Send it again. Route requests by run, or set MEMR_ADDRESS so that services reach each other.",
            retry_after=1,
        )
        self.uid = uid
        self.address = address


class BarrierLease:
    """The barriers that this service keeps. Used in the event loop's thread, but for `forget`."""

    def __init__(self, leases: Leases | None, address: str, lost: Callable[[int], None]) -> None:
        """`leases`: None if no other service shares the store. `address`: where other services find this one. `lost` is
        told of a run whose barrier another keeps now."""
        self._leases = leases
        self._address = address
        self._lost = lost
        self._until: dict[int, float] = {}  # uid -> until when (`time.monotonic`) nobody else can keep it
        self._renewing: asyncio.Task[None] | None = None

    async def require(self, run_id: str, uid: int) -> None:
        """Keep a run's barrier.

        Raises:
            Elsewhere: another service does.
        """
        if self._leases is None or time.monotonic() < self._until.get(uid, 0):
            return
        if (address := await self._keep(self._leases, uid)) is not None:
            raise HeldElsewhere(run_id, uid, address)
        if self._renewing is None:
            self._renewing = asyncio.create_task(self._renew(self._leases))

    async def stays(self, elsewhere: HeldElsewhere) -> bool:
        """Whether the barrier is still kept where it was."""
        if self._leases is None:
            return False
        return await asyncio.to_thread(self._leases.holder, elsewhere.uid) == elsewhere.address

    def forget(self, uid: int) -> None:
        """Keep it no longer than until its time is over (safe from any thread)."""
        self._until.pop(uid, None)

    async def close(self) -> None:
        """Leave everything to others; what is required after that is kept again."""
        if self._renewing is not None:
            self._renewing.cancel()
            self._renewing = None
        while self._leases is not None and self._until:
            uid, _ = self._until.popitem()
            with contextlib.suppress(ProblemError):
                await asyncio.to_thread(self._leases.release, uid)

    async def _keep(self, leases: Leases, uid: int) -> str | None:
        asked = time.monotonic()
        address = await asyncio.to_thread(leases.acquire, uid, self._address)
        if address is None:
            self._until[uid] = asked + LEASE_S
        elif self._until.pop(uid, None) is not None:
            self._lost(uid)
        return address

    async def _renew(self, leases: Leases) -> None:
        while self._until:
            await asyncio.sleep(LEASE_S / 3)
            for uid in list(self._until):
                with contextlib.suppress(ProblemError):  # it goes on trying: nobody else reaches the store either
                    await self._keep(leases, uid)
        self._renewing = None
