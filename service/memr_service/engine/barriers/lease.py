"""Which service holds a run's barrier, if several services share a store: requests that wait for each other must meet.

The first service that needs a run's barrier holds its lease until it closes, or has not renewed it for `LEASE_S`; the
others forward requests to it. If the holder dies, its waiting requests get no response, and their retries form the
round again at the next holder (L11). A holder that was only slow cannot commit any more: the store refuses it.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable

from memr_client.errors import ProblemError, Unavailable

from memr_service.store.capabilities import LEASE_S, Leases


class HeldElsewhere(Unavailable):
    """Another service, at `address`, holds the barrier of run `uid` (an empty address cannot be reached)."""

    def __init__(self, run_id: str, uid: int, address: str) -> None:
        super().__init__(
            f"The barrier of run {run_id!r} is held by another service, {address or 'which has no address'}.",
            value=address,
            remedy="Send it again. Route requests by run, or set MEMR_ADDRESS so that services reach each other.",
            retry_after=1,
        )
        self.uid = uid
        self.address = address


class BarrierLease:
    """The leases of this service. Used in the event loop's thread, except `forget`."""

    def __init__(self, leases: Leases | None, address: str, lost: Callable[[int], None]) -> None:
        """Take no lease yet.

        Args:
            leases: None if no other service shares the store.
            address: where other services reach this one.
            lost: called with the uid of a run whose lease another service has taken.
        """
        self._leases = leases
        self._address = address
        self._lost = lost
        self._until: dict[int, float] = {}  # uid -> `time.monotonic()` until which no other service can have the lease
        self._renewing: asyncio.Task[None] | None = None

    async def require(self, run_id: str, uid: int) -> None:
        """Hold a run's lease.

        Raises:
            HeldElsewhere: another service does.
        """
        if self._leases is None or time.monotonic() < self._until.get(uid, 0):
            return
        if (address := await self._acquire(self._leases, uid)) is not None:
            raise HeldElsewhere(run_id, uid, address)
        if self._renewing is None:
            self._renewing = asyncio.create_task(self._renew(self._leases))

    async def unchanged(self, elsewhere: HeldElsewhere) -> bool:
        """Whether the same other service still holds the lease."""
        if self._leases is None:
            return False
        return await asyncio.to_thread(self._leases.holder, elsewhere.uid) == elsewhere.address

    def forget(self, uid: int) -> None:
        """Do not renew a lease any more (safe from any thread)."""
        self._until.pop(uid, None)

    async def close(self) -> None:
        """End all leases. A lease that is required after that is taken again."""
        if self._renewing is not None:
            self._renewing.cancel()
            self._renewing = None
        while self._leases is not None and self._until:
            uid, _ = self._until.popitem()
            with contextlib.suppress(ProblemError):
                await asyncio.to_thread(self._leases.release, uid)

    async def _acquire(self, leases: Leases, uid: int) -> str | None:
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
                with contextlib.suppress(ProblemError):  # it tries again: no other service reaches the store either
                    await self._acquire(leases, uid)
        self._renewing = None
