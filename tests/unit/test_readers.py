"""Threads for reading, and how many questions are answered at once."""

from __future__ import annotations

import asyncio
import threading

import pytest
from memr_client.errors import Overloaded
from memr_service.engine.readers import THREADS, Gate, Readers


def test_readers_that_hang_leave_the_loops_own_threads_to_rewards() -> None:
    go_on = threading.Event()

    async def story() -> None:
        readers = Readers()
        hanging = [asyncio.create_task(readers.ask(go_on.wait, 10)) for _ in range(8 * THREADS)]
        await asyncio.sleep(0)
        name = await asyncio.wait_for(asyncio.to_thread(lambda: threading.current_thread().name), 5)
        assert "memr-readers" not in name
        go_on.set()
        assert all(await asyncio.gather(*hanging))
        assert "memr-readers" in await readers.ask(lambda: threading.current_thread().name)
        readers.shutdown()

    asyncio.run(story())


def test_a_question_whose_caller_has_left_is_not_answered() -> None:
    go_on, done = threading.Event(), list[int]()

    async def story() -> None:
        readers = Readers()
        hanging = [asyncio.create_task(readers.ask(go_on.wait, 10)) for _ in range(THREADS)]
        await asyncio.sleep(0)
        left = asyncio.create_task(readers.ask(done.append, 1))
        await asyncio.sleep(0)
        left.cancel()
        await asyncio.wait((left,))
        go_on.set()
        await asyncio.gather(*hanging)
        await readers.ask(done.append, 2)
        readers.shutdown()

    asyncio.run(story())
    assert done == [2]


def test_a_gate_lets_some_in_some_wait_and_refuses_the_rest() -> None:
    async def story() -> None:
        gate, go_on, inside, most = Gate("questions", 2, 3), asyncio.Event(), 0, 0

        async def question() -> None:
            nonlocal inside, most
            async with gate.entered():
                inside += 1
                most = max(most, inside)
                await go_on.wait()
                inside -= 1

        asked = [asyncio.create_task(question()) for _ in range(5)]
        await asyncio.sleep(0)
        with pytest.raises(Overloaded, match="5 questions") as refusal:
            await question()
        assert (refusal.value.value, refusal.value.limit, refusal.value.retry_after) == (5, 5, 5)
        asked[4].cancel()  # a place to wait in is free again
        await asyncio.sleep(0)
        gate.require_room()
        asked[4] = asyncio.create_task(question())
        go_on.set()
        await asyncio.gather(*asked)
        assert most == 2
        await question()

    asyncio.run(story())
