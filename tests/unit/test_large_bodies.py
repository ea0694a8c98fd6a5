"""Large bodies: how many are worked on at once, and whose turn is next."""

from __future__ import annotations

import asyncio

import pytest
from memr_client.errors import Overloaded
from memr_service.app.arrived_bodies import ArrivedBodies
from memr_service.app.large_bodies import LARGE, LargeBodies, Place


async def begun(*tasks: asyncio.Task[None]) -> list[bool]:
    """Which of them have entered."""
    for _ in range(5):
        await asyncio.sleep(0)
    return [task.done() for task in tasks]


def test_those_that_do_not_fit_wait_and_a_large_one_enters_alone() -> None:
    async def run() -> None:
        bodies = LargeBodies(most=100)
        small, huge, later = (asyncio.create_task(bodies.enter("a", size)) for size in (60, 500, 10))
        assert await begun(small, huge, later) == [True, False, False], "who came later does not overtake"
        bodies.leave(60)
        assert await begun(huge, later) == [True, False]
        bodies.leave(500)
        assert await begun(later) == [True]

    asyncio.run(run())


def test_senders_take_turns() -> None:
    async def run() -> None:
        bodies = LargeBodies(most=100)
        first, *greedy = (asyncio.create_task(bodies.enter("a", 100)) for _ in range(5))
        await begun(first)
        other = asyncio.create_task(bodies.enter("b", 100))
        await begun(other)
        for _ in range(3):
            bodies.leave(100)
            await begun()
        assert await begun(*greedy, other) == [True, True, False, False, True]

    asyncio.run(run())


def test_who_leaves_while_waiting_or_when_admitted_holds_nothing() -> None:
    async def run() -> None:
        bodies = LargeBodies(most=100)
        await bodies.enter("a", 100)
        waiting, admitted, last = (asyncio.create_task(bodies.enter("a", 100)) for _ in range(3))
        await begun()
        waiting.cancel()
        bodies.leave(100)  # the one after it is admitted, and has not noticed
        admitted.cancel()
        assert await begun(last) == [True]
        with pytest.raises(asyncio.CancelledError):
            await admitted

    asyncio.run(run())


def test_a_place_is_left_once_and_small_bodies_need_none() -> None:
    async def run() -> None:
        bodies = LargeBodies(most=2 * LARGE)
        place, other = (Place(ArrivedBodies(1), bodies, "a") for _ in range(2))
        await place.enter(LARGE)
        place.leave()
        await place.enter(2 * LARGE)
        waiting = asyncio.create_task(other.enter(2 * LARGE))
        assert await begun(waiting) == [False]
        place.leave()
        place.leave()
        assert await begun(waiting) == [True]
        assert await begun(asyncio.create_task(place.enter(2 * LARGE))) == [False]

    asyncio.run(run())


def test_a_place_keeps_what_arrived_until_it_is_left() -> None:
    arrived = ArrivedBodies(100)
    place, other = (Place(arrived, LargeBodies(), "a") for _ in range(2))
    place.keep(60)
    place.keep(40)
    with pytest.raises(Overloaded):
        other.keep(51)
    place.leave()
    other.keep(100)
    place.leave()
    with pytest.raises(Overloaded):
        other.keep(1)
