"""The engine: one thing after another in one thread, what is behind an answer first, and an end that is told."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from memr_client.errors import Conflict, Unavailable
from memr_service.engine.run_thread import RunThread


def told(story: Callable[[RunThread], Coroutine[Any, Any, None]]) -> None:
    engine = RunThread()
    try:
        asyncio.run(asyncio.wait_for(story(engine), 30))
    finally:
        engine.shutdown()


def test_everything_is_asked_in_one_thread_and_in_order() -> None:
    done: list[int] = []
    threads: set[str] = set()

    def note(number: int) -> int:
        threads.add(threading.current_thread().name)
        time.sleep(0.002 * (number % 3))
        done.append(number)
        return -number

    async def story(engine: RunThread) -> None:
        assert await asyncio.gather(*(engine.ask(note, number) for number in range(12))) == [-n for n in range(12)]

    told(story)
    assert done == list(range(12))
    assert len(threads) == 1


def test_what_a_function_raises_is_the_askers() -> None:
    def refuse() -> None:
        raise Conflict("taken")

    def fail() -> None:
        raise RuntimeError("a defect")

    async def story(engine: RunThread) -> None:
        with pytest.raises(Conflict, match="taken"):
            await engine.ask(refuse)
        with pytest.raises(RuntimeError, match="a defect"):
            await engine.ask(fail)
        assert await engine.ask(int) == 0

    told(story)


def test_jobs_behind_an_answer_are_done_by_themselves_and_before_whatever_is_asked_next() -> None:
    done: list[str] = []

    async def story(engine: RunThread) -> None:
        engine.behind(lambda: done.append("first"), lambda: done.append("second"))
        assert not done
        await engine.ask(done.append, "asked")
        assert done == ["first", "second", "asked"]
        by_itself = threading.Event()
        engine.behind(by_itself.set)
        assert not by_itself.is_set()
        assert await asyncio.to_thread(by_itself.wait, 10)

    told(story)


def test_a_job_that_fails_behind_an_answer_is_logged_and_holds_nothing_up(caplog: pytest.LogCaptureFixture) -> None:
    done: list[str] = []

    def fail() -> None:
        raise RuntimeError("no room for texts")

    async def story(engine: RunThread) -> None:
        engine.behind(fail, lambda: done.append("after"))
        await engine.ask(int)

    told(story)
    assert done == ["after"]
    assert "no room for texts" in caplog.text


def test_an_engine_that_was_shut_down_says_so_and_has_done_what_it_was_asked() -> None:
    done: list[str] = []

    async def story(engine: RunThread) -> None:
        engine.behind(lambda: done.append("behind"))
        await engine.ask(int)
        engine.shutdown()
        with pytest.raises(Unavailable, match="shutting down"):
            await engine.ask(done.append, "too late")

    told(story)
    assert done == ["behind"]
