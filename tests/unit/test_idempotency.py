"""Work in flight by name: done once however many wait, cancelled when nobody does."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest
from memr_client.errors import InvalidRequest, Unavailable
from memr_service.engine.idempotency import SingleFlight


class Gate:
    """Work that waits to be let through, and counts how often it was begun and cancelled."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.begun = 0
        self.cancelled = 0

    def __call__(self) -> Coroutine[Any, Any, bytes]:
        return self._work()

    async def _work(self) -> bytes:
        self.begun += 1
        number = self.begun
        try:
            await self.open.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return b"answer %d" % number


async def settle() -> None:
    """Let everything run that can."""
    for _ in range(10):
        await asyncio.sleep(0)


def test_two_who_wait_for_the_same_get_one_answer() -> None:
    async def story() -> None:
        once, gate = SingleFlight[bytes](), Gate()
        waiting = [asyncio.create_task(once("name", "id", b"body", gate)) for _ in range(3)]
        await settle()
        assert "name" in once
        gate.open.set()
        assert await asyncio.gather(*waiting) == [b"answer 1"] * 3
        assert gate.begun == 1
        assert "name" not in once
        assert await once("name", "id", b"another body", gate) == b"answer 2"

    asyncio.run(story())


def test_different_names_do_not_wait_for_each_other() -> None:
    async def story() -> None:
        once, shut, opened = SingleFlight[bytes](), Gate(), Gate()
        opened.open.set()
        waiting = asyncio.create_task(once("one", "id", b"", shut))
        assert await once("other", "id", b"", opened) == b"answer 1"
        shut.open.set()
        assert await waiting == b"answer 1"

    asyncio.run(story())


def test_another_body_under_a_name_in_flight_is_refused_and_disturbs_nobody() -> None:
    async def story() -> None:
        once, gate = SingleFlight[bytes](), Gate()
        waiting = asyncio.create_task(once("name", "id", b"body", gate))
        await settle()
        with pytest.raises(InvalidRequest, match="another body"):
            await once("name", "id", b"other", gate)
        gate.open.set()
        assert await waiting == b"answer 1"

    asyncio.run(story())


def test_a_failure_is_everybodys_and_is_forgotten() -> None:
    async def fails() -> bytes:
        await asyncio.sleep(0)
        raise Unavailable("no")

    async def story() -> None:
        once, gate = SingleFlight[bytes](), Gate()
        waiting = [asyncio.create_task(once("name", "id", b"", fails)) for _ in range(2)]
        for error in await asyncio.gather(*waiting, return_exceptions=True):
            assert isinstance(error, Unavailable)
        gate.open.set()
        assert await once("name", "id", b"", gate) == b"answer 1"

    asyncio.run(story())


def test_work_goes_on_while_anybody_waits_for_it() -> None:
    async def story() -> None:
        once, gate = SingleFlight[bytes](), Gate()
        left, stays = (asyncio.create_task(once("name", "id", b"", gate)) for _ in range(2))
        await settle()
        left.cancel()
        await settle()
        assert gate.cancelled == 0
        gate.open.set()
        assert await stays == b"answer 1"

    asyncio.run(story())


def test_work_nobody_waits_for_is_cancelled_and_a_retry_at_once_begins_afresh() -> None:
    async def story() -> None:
        once, gate = SingleFlight[bytes](), Gate()
        left = asyncio.create_task(once("name", "id", b"", gate))
        await settle()
        left.cancel()
        await asyncio.sleep(0)  # it has left, but its work has not noticed yet
        gate.open.set()
        assert await once("name", "id", b"", gate) == b"answer 2"
        assert (gate.begun, gate.cancelled) == (2, 1)
        assert "name" not in once

    asyncio.run(story())


def test_a_retry_that_comes_in_the_very_turn_in_which_abandoned_work_ends_begins_afresh() -> None:
    async def story(turns: int) -> None:
        once, gate = SingleFlight[bytes](), Gate()
        first = asyncio.create_task(once("name", "id", b"body", gate))
        await settle()
        first.cancel()
        for _ in range(turns):
            await asyncio.sleep(0)
        gate.open.set()
        assert await once("name", "id", b"body", gate) in (b"answer 1", b"answer 2")
        await settle()
        assert "name" not in once

    for turns in range(5):
        asyncio.run(story(turns))


def test_settled_waits_for_what_is_in_flight_and_swallows_its_failures() -> None:
    async def fails() -> bytes:
        raise Unavailable("no")

    async def story() -> None:
        once, gate = SingleFlight[bytes](), Gate()
        waiting = asyncio.create_task(once("one", "id", b"", gate))
        failing = asyncio.create_task(once("other", "id", b"", fails))
        settled = asyncio.create_task(once.settled())
        await settle()
        assert not settled.done()
        gate.open.set()
        await settled
        assert await waiting == b"answer 1"
        with pytest.raises(Unavailable):
            await failing

    asyncio.run(story())
