"""The thread for texts: steps, turns by run, the limit, callers that leave."""

import asyncio
import threading
import time

import pytest
from memr_client.errors import InvalidRequest, TooLarge
from memr_client.schemas import Message
from memr_service.engine.text_thread import SLICE_S, SMALL_CHARS, SMALL_TEXTS, TextThread, are_small, in_one_step
from memr_service.engine.turns import Turns


def run(scenario, limit_s=10.0):
    """The result of a coroutine function that takes a thread for texts."""

    async def whole():
        texts = TextThread(limit_s)
        try:
            return await asyncio.wait_for(scenario(texts), 30)
        finally:
            texts.close()

    return asyncio.run(whole())


def busy(seconds):
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        pass


def steps(name, count, log, seconds=SLICE_S):
    """Work of so many steps, each a turn long, which writes its name into a log."""
    for _ in range(count):
        busy(seconds)
        log.append(name)
        yield
    return name


def test_runs_take_turns():
    turns = Turns()
    for run_id, one in (("a", 1), ("a", 2), ("a", 3), ("b", 4), ("c", 5), ("b", 6)):
        turns.add(run_id, one)
    assert [turns.take() for _ in range(7)] == [1, 4, 5, 2, 6, 3, None]
    turns.add("a", 1)
    turns.clear()
    assert turns.take() is None


def test_a_run_does_not_wait_for_all_that_another_one_asked():
    async def scenario(texts):
        log = []
        mine = [asyncio.create_task(texts.ask("mine", steps("mine", 4, log))) for _ in range(3)]
        await asyncio.sleep(0)
        assert await texts.ask("other", steps("other", 2, log)) == "other"
        await asyncio.gather(*mine)
        return log

    log = run(scenario)
    assert len(log) == 14
    assert log[:6].count("other") == 2


def test_the_event_loop_goes_on_meanwhile_and_small_work_is_done_in_it():
    async def scenario(texts):
        ticked = threading.Event()
        work = asyncio.create_task(texts.ask("run", in_one_step(ticked.wait, 10)))
        for _ in range(10):
            await asyncio.sleep(0.001)
        ticked.set()
        meanwhile = await work
        here = await texts.ask("run", in_one_step(threading.get_ident), small=True)
        there = await texts.ask("run", in_one_step(threading.get_ident))
        return meanwhile, here == threading.get_ident(), there == threading.get_ident()

    assert run(scenario) == (True, True, False)


def test_work_that_takes_too_long_is_refused_with_a_remedy_and_other_work_goes_on():
    async def scenario(texts):
        log = []
        with pytest.raises(TooLarge) as refused:
            await texts.ask("run", steps("", 1000, log))
        tried = len(log)
        unlimited = await texts.ask("run", steps("whole", 6, []), limited=False)
        return refused.value, tried, unlimited

    refused, tried, unlimited = run(scenario, limit_s=0.06)
    assert "MEMR_TEXT_S" in refused.remedy
    assert "0.06 s" in refused.limit
    assert 3 <= tried <= 5
    assert unlimited == "whole"


def test_work_ends_when_its_caller_leaves():
    async def scenario(texts):
        log = []
        leaves = asyncio.create_task(texts.ask("run", steps("leaves", 1000, log)))
        while not log:
            await asyncio.sleep(0.001)
        leaves.cancel()
        await texts.ask("run", steps("stays", 1, []))
        done = len(log)
        await texts.ask("run", steps("stays", 3, []))
        return done, len(log)

    done, later = run(scenario)
    assert done == later < 1000


def test_errors_reach_the_caller():
    def wrong():
        yield
        raise InvalidRequest("no")

    async def scenario(texts):
        with pytest.raises(InvalidRequest):
            await texts.ask("run", wrong())
        return await texts.ask("run", in_one_step(int, "7"))

    assert run(scenario) == 7


def test_few_short_texts_are_small():
    message = Message(role="user", content="x" * SMALL_CHARS)
    assert are_small([], [])
    assert are_small(["x" * SMALL_CHARS], [[]])
    assert are_small([[message]])
    assert not are_small(["x" * SMALL_CHARS], ["x"])
    assert not are_small([[message]], ["x"])
    assert not are_small([""] * (SMALL_TEXTS + 1))
