"""Waiting for work while the caller may disconnect."""

import asyncio

import pytest
from memr_service.app.disconnect import unless_disconnected, while_connected
from starlette.requests import ClientDisconnect


class Caller:
    """A request whose caller disconnects when `left` is set."""

    def __init__(self):
        self.left = asyncio.Event()

    async def receive(self):
        await self.left.wait()
        return {"type": "http.disconnect"}


def run(scenario):
    asyncio.run(asyncio.wait_for(scenario(), 10))


async def answering(answer="answer", after=None):
    if after is not None:
        await after.wait()
    return answer


@pytest.mark.parametrize("goes_on", [True, False])
def test_work_whose_caller_leaves_is_cancelled_or_goes_on(goes_on):
    async def scenario():
        caller, ready = Caller(), asyncio.Event()
        work = asyncio.create_task(answering(after=ready))
        waiting = unless_disconnected(caller, work) if goes_on else while_connected(caller, awaited(work))
        asyncio.get_running_loop().call_soon(caller.left.set)
        with pytest.raises(ClientDisconnect):
            await waiting
        assert work.cancelled() is not goes_on
        if goes_on:
            ready.set()
            assert await work == "answer"

    async def awaited(work):
        return await work

    run(scenario)


def test_a_connected_caller_gets_the_result():
    async def scenario():
        assert await unless_disconnected(Caller(), asyncio.create_task(answering())) == "answer"
        assert await while_connected(Caller(), answering()) == "answer"

    run(scenario)


def test_a_caller_who_is_disconnecting_does_not_get_the_result():
    """The work is done first, but the connection ends before the response could be sent."""

    async def scenario():
        caller = Caller()
        work = asyncio.create_task(answering())
        await work
        asyncio.get_running_loop().call_soon(caller.left.set)
        with pytest.raises(ClientDisconnect):
            await unless_disconnected(caller, work)
        assert work.result() == "answer"

    run(scenario)


def test_what_the_work_raises_is_raised():
    async def failing():
        raise ZeroDivisionError

    async def scenario():
        with pytest.raises(ZeroDivisionError):
            await unless_disconnected(Caller(), asyncio.create_task(failing()))

    run(scenario)
