"""The thread that runs share by turns: who is next, what is dropped, and its end."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from memr_service.engine import shared_thread as module
from memr_service.engine.shared_thread import SharedThread


@contextmanager
def held(turns: SharedThread, run: str = "holder") -> Iterator[None]:
    """The thread works for a run in the `with` block."""
    began, go_on = threading.Event(), threading.Event()
    turns.submit(run, lambda: (began.set(), go_on.wait(10)))
    assert began.wait(10)
    try:
        yield
    finally:
        go_on.set()


def ended(turns: SharedThread) -> None:
    turns.end(lambda: None).result(10)
    turns.join()


class Clock:
    """The thread's clock, which only its work moves on."""

    def __init__(self) -> None:
        self.now, self.done = 0, list[str]()

    def monotonic(self) -> int:
        return self.now

    def work(self, name: str, seconds: int) -> Callable[[], None]:
        """Work of so many seconds, which writes its name down."""

        def done() -> None:
            self.done.append(name)
            self.now += seconds

        return done


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(module, "time", found)
    return found


def test_a_run_that_used_little_goes_before_the_queue_of_one_that_used_much(clock: Clock) -> None:
    turns = SharedThread("test")
    with held(turns, "heavy"):
        clock.now += 10
        for _ in range(5):
            turns.submit("heavy", clock.work("heavy", 2))
        turns.submit("light", clock.work("light", 0))
    ended(turns)
    assert clock.done == ["light", *5 * ["heavy"]]


def test_runs_that_wait_get_equal_time_and_not_equal_numbers_of_turns(clock: Clock) -> None:
    turns = SharedThread("test")
    with held(turns):
        for _ in range(3):
            turns.submit("slow", clock.work("slow", 8))
        for _ in range(20):
            turns.submit("quick", clock.work("quick", 1))
    ended(turns)
    assert clock.done == ["slow", *8 * ["quick"], "slow", *8 * ["quick"], "slow", *4 * ["quick"]]


def test_nobody_saves_time_up_by_waiting(clock: Clock) -> None:
    turns = SharedThread("test")
    turns.submit("early", clock.work("early", 0)).result(10)
    for _ in range(9):
        turns.submit("steady", clock.work("steady", 1)).result(10)
    with held(turns):
        for _ in range(3):
            turns.submit("steady", clock.work("steady", 1))
            turns.submit("early", clock.work("early", 1))
    ended(turns)
    assert "steady" in clock.done[10:13], clock.done


def test_the_jobs_of_a_run_stay_in_order_and_give_results_and_errors() -> None:
    turns, done = SharedThread("test"), list[int]()

    def fail() -> None:
        raise KeyError("a defect")

    results = [turns.submit("run", lambda one=number: done.append(one) or -one) for number in range(9)]  # type: ignore[misc,func-returns-value]
    failing = turns.submit("run", fail)
    with pytest.raises(KeyError, match="a defect"):
        failing.result(10)
    assert [one.result(10) for one in results] == [-number for number in range(9)]
    assert done == [*range(9)]
    ended(turns)


def test_a_job_that_is_cancelled_before_it_begins_is_dropped() -> None:
    turns, done = SharedThread("test"), list[str]()
    with held(turns):
        dropped = turns.submit("run", done.append, "dropped")
        kept = turns.submit("run", done.append, "kept")
        assert dropped.cancel()
    kept.result(10)
    ended(turns)
    assert done == ["kept"]


def test_the_last_function_comes_after_everything_that_waits_and_nothing_is_taken_then() -> None:
    turns, done = SharedThread("test"), list[str]()
    with held(turns):
        for run in ("a", "b", "a"):
            turns.submit(run, done.append, run)
        last = turns.end(lambda: done.append("last"))
        assert turns.end(lambda: done.append("again")) is last
        with pytest.raises(RuntimeError, match="shutdown"):
            turns.submit("c", done.append, "c")
    last.result(10)
    turns.join()
    assert sorted(done[:3]) == ["a", "a", "b"]
    assert done[3:] == ["last"]


def test_runs_that_owe_nothing_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_IDLE", 8)
    turns = SharedThread("test")
    for number in range(100):
        turns.submit(f"run {number}", int).result(10)
    assert len(turns._used) < 20
    ended(turns)


def test_a_job_that_is_done_is_not_kept_until_the_next_one_comes() -> None:
    class Texts:
        """What a job holds."""

    turns, texts = SharedThread("test"), Texts()
    known = weakref.ref(texts)
    turns.submit("run", id, texts).result(10)
    del texts
    until = time.monotonic() + 10
    while known() is not None and time.monotonic() < until:
        time.sleep(0.001)
    assert known() is None
    ended(turns)


def test_jobs_of_a_kind_that_wait_one_after_another_are_done_in_one_call() -> None:
    calls: list[list[int]] = []
    turns, kind, other = SharedThread("test"), object(), object()

    def twice(numbers: list[int]) -> list[int | Exception]:
        calls.append(numbers)
        return [2 * number if number != 3 else ValueError("three") for number in numbers]

    with held(turns):
        first = [turns.submit_alike("run", kind, 1, twice, number) for number in range(5)]
        between = turns.submit("run", lambda: calls.append([]))
        after = turns.submit_alike("run", kind, 1, twice, 5)
        others = [turns.submit_alike("run", other, 1, twice, number) for number in (6, 7)]
        assert first[1].cancel()
    ended(turns)
    assert calls == [[0, 2, 3, 4], [], [5], [6, 7]]
    assert [one.result() for one in (first[0], first[2], first[4], after, *others)] == [0, 4, 8, 10, 12, 14]
    assert isinstance(first[3].exception(), ValueError)
    assert between.done()


def test_jobs_of_one_call_weigh_no_more_than_a_call_may() -> None:
    calls: list[list[int]] = []
    turns, kind = SharedThread("test"), object()
    with held(turns):
        for weight in (module.TOGETHER // 2, module.TOGETHER // 2, 1, 2 * module.TOGETHER, 1):
            turns.submit_alike("run", kind, weight, lambda some: calls.append(some) or some, weight)
    ended(turns)
    half = module.TOGETHER // 2
    assert calls == [[half, half], [1], [2 * module.TOGETHER], [1]]


def test_what_fails_in_a_call_for_several_is_raised_to_each() -> None:
    turns, kind = SharedThread("test"), object()

    def fail(some: list[int]) -> list[int]:
        raise RuntimeError("a defect")

    with held(turns):
        results = [turns.submit_alike("run", kind, 1, fail, number) for number in range(3)]
    ended(turns)
    assert [str(one.exception()) for one in results] == 3 * ["a defect"]
