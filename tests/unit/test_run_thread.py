"""The run thread: one call after another, work after a response before the next call, commits, and its end."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Coroutine, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from memr_client.errors import Conflict, DeadlineExceeded, InternalError, InvalidRequest, StoreFull, Unavailable
from memr_client.schemas import RunInfo
from memr_service.engine.run_registry import RunRegistry
from memr_service.engine.run_thread import RunThread
from memr_service.run import run as run_module
from memr_service.run.live_state import Limits
from memr_service.run.run import Run, Submission
from memr_service.state.codec import unseal
from memr_service.state.state import State
from memr_service.store.base import NewResponse, StoredRecord, StoredResponse
from memr_service.store.sqlite import SqliteStore
from support.batches import config, random_batch


class Counting(SqliteStore):
    """A store in memory that counts how often responses are looked up, and whose commits fail with `error`, if any."""

    def __init__(self) -> None:
        super().__init__(None)
        self.looked_up = 0
        self.error: BaseException | None = None
        self._find, self._commit = self.responses.find, self.journal.commit
        self.responses.find = self.find  # type: ignore[method-assign]
        self.journal.commit = self.commit  # type: ignore[method-assign]

    def find(self, uid: int, request_id: str) -> list[StoredResponse]:
        self.looked_up += 1
        return self._find(uid, request_id)

    def commit(self, uid: int, record: StoredRecord, responses: Sequence[NewResponse] = ()) -> None:
        if self.error is not None:
            raise self.error
        self._commit(uid, record, responses)


@contextmanager
def registry(store: SqliteStore) -> Iterator[RunRegistry]:
    with closing(store), ThreadPoolExecutor(1) as background:
        yield RunRegistry(store, background, Limits(snapshot_bytes=1 << 60))


def told(story: Callable[[RunThread], Coroutine[Any, Any, None]]) -> None:
    with registry(SqliteStore(None)) as runs:
        thread = RunThread(runs)
        try:
            asyncio.run(asyncio.wait_for(story(thread), 30))
        finally:
            thread.shutdown()


def with_run(story: Callable[[RunThread, RunRegistry, Run, Counting], Coroutine[Any, Any, None]]) -> None:
    """The same with a run."""
    store = Counting()
    with registry(store) as runs:
        thread = RunThread(runs)

        async def scenario() -> None:
            run = await thread.ask(runs.find_or_create, "run", config(), None)
            await story(thread, runs, run, store)

        try:
            asyncio.run(asyncio.wait_for(scenario(), 30))
        finally:
            thread.shutdown()


def batch(seed: int = 0) -> Any:
    return random_batch(np.random.default_rng(seed), 3, 4)


# One thing after another


def test_everything_is_done_in_one_thread_and_in_order() -> None:
    done: list[int] = []
    threads: set[str] = set()

    def note(number: int) -> int:
        threads.add(threading.current_thread().name)
        time.sleep(0.002 * (number % 3))
        done.append(number)
        return -number

    async def story(thread: RunThread) -> None:
        assert await asyncio.gather(*(thread.ask(note, number) for number in range(12))) == [-n for n in range(12)]

    told(story)
    assert done == list(range(12))
    assert len(threads) == 1


def test_what_a_function_raises_is_raised_to_its_caller() -> None:
    def refuse() -> None:
        raise Conflict("taken")

    def fail() -> None:
        raise RuntimeError("a defect")

    async def story(thread: RunThread) -> None:
        with pytest.raises(Conflict, match="taken"):
            await thread.ask(refuse)
        with pytest.raises(RuntimeError, match="a defect"):
            await thread.ask(fail)
        assert await thread.ask(int) == 0

    told(story)


def test_work_after_a_response_is_done_by_itself_and_before_whatever_is_asked_next() -> None:
    done: list[str] = []

    async def story(thread: RunThread) -> None:
        thread.after_response(lambda: done.append("first"), lambda: done.append("second"))
        assert not done
        await thread.ask(done.append, "asked")
        assert done == ["first", "second", "asked"]
        by_itself = threading.Event()
        thread.after_response(by_itself.set)
        assert not by_itself.is_set()
        assert await asyncio.to_thread(by_itself.wait, 10)

    told(story)


def test_work_after_a_response_that_fails_is_logged_and_holds_nothing_up(caplog: pytest.LogCaptureFixture) -> None:
    done: list[str] = []

    def fail() -> None:
        raise RuntimeError("no room for texts")

    async def story(thread: RunThread) -> None:
        thread.after_response(fail, lambda: done.append("after"))
        await thread.ask(int)

    told(story)
    assert done == ["after"]
    assert "no room for texts" in caplog.text


def test_a_thread_that_was_shut_down_says_so_and_has_done_what_it_was_asked() -> None:
    done: list[str] = []

    async def story(thread: RunThread) -> None:
        thread.after_response(lambda: done.append("after"))
        await thread.ask(int)
        thread.shutdown()
        with pytest.raises(Unavailable, match="shutting down"):
            await thread.ask(done.append, "too late")

    told(story)
    assert done == ["after"]


# Commits


def test_a_commit_answers_every_submission_and_its_record_is_applied_before_the_next_call() -> None:
    async def story(thread: RunThread, runs: RunRegistry, run: Run, store: Counting) -> None:
        for position in (1, 2, 3):
            committed = await thread.commit(run, batch(position), [Submission(f"id {position}", b"body")])
            assert committed is not None
            assert committed.record is not None
            assert [response.fields["position"] for response in committed.responses] == [position]
            assert committed.record.position == await thread.on_run(run, lambda run: run.state.position) == position

    with_run(story)


@pytest.mark.parametrize("look_up", [False, True])
def test_a_request_id_is_looked_up_once_and_gets_the_same_bytes_again(look_up: bool) -> None:
    async def story(thread: RunThread, runs: RunRegistry, run: Run, store: Counting) -> None:
        submission = Submission("id", b"body")
        if not look_up:
            assert await thread.replay(run, submission) is None
        first = await thread.commit(run, batch(), [submission], look_up=look_up)
        assert store.looked_up == 1
        assert first is not None
        assert not first.responses[0].replayed
        again = await thread.commit(run, batch(), [submission], look_up=True)
        assert store.looked_up == 2
        assert again is not None
        assert again.record is None
        assert again.responses == [await thread.replay(run, submission)]
        assert again.responses[0].replayed
        assert again.responses[0].body == first.responses[0].body
        for refused in (thread.commit(run, batch(), [Submission("id", b"other")], look_up=True),):
            with pytest.raises(InvalidRequest, match="another body"):
                await refused
        assert await thread.on_run(run, lambda run: run.state.position) == 1

    with_run(story)


def test_an_id_that_is_not_looked_up_is_still_not_committed_twice() -> None:
    async def story(thread: RunThread, runs: RunRegistry, run: Run, store: Counting) -> None:
        await thread.commit(run, batch(), [Submission("id", b"body")])
        before = await thread.on_run(run, lambda run: run.state.digest())
        with pytest.raises(InternalError, match="UNIQUE"):
            await thread.commit(run, batch(1), [Submission("id", b"body")])
        again = await thread.ask(runs.find, "run")
        assert again is not None
        assert await thread.on_run(again, lambda run: run.state.digest()) == before

    with_run(story)


def test_a_request_without_an_id_costs_no_look_up() -> None:
    async def story(thread: RunThread, runs: RunRegistry, run: Run, store: Counting) -> None:
        assert await thread.replay(run, Submission()) is None
        await thread.commit(run, batch(), [Submission()], look_up=True)
        assert store.looked_up == 0

    with_run(story)


def test_what_comes_too_late_is_refused_and_changes_nothing() -> None:
    async def story(thread: RunThread, runs: RunRegistry, run: Run, store: Counting) -> None:
        for call in (
            thread.commit(run, batch(), [Submission()], begin_by=time.monotonic() - 1),
            thread.evaluate(run, batch(), Submission(), time.monotonic() - 1),
        ):
            with pytest.raises(DeadlineExceeded):
                await call
        assert await thread.on_run(run, lambda run: run.state.position) == 0
        assert await thread.commit(run, batch(), [Submission()], begin_by=time.monotonic() + 60) is not None

    with_run(story)


def test_a_run_that_is_not_in_use_any_more_takes_no_commit() -> None:
    async def story(thread: RunThread, runs: RunRegistry, run: Run, store: Counting) -> None:
        forgotten: list[Run] = []
        runs.on_forget.append(forgotten.append)
        await thread.ask(runs.forget, run)
        assert forgotten == [run]
        assert await thread.commit(run, batch(), [Submission()]) is None
        await thread.expire(run, [b"group"])
        again = await thread.ask(runs.find, "run")
        assert again is not None
        assert await thread.commit(again, batch(), [Submission()]) is not None

    with_run(story)


def test_a_store_that_refuses_leaves_the_run_in_use() -> None:
    async def story(thread: RunThread, runs: RunRegistry, run: Run, store: Counting) -> None:
        store.error = StoreFull("no room")
        with pytest.raises(StoreFull):
            await thread.commit(run, batch(), [Submission()])
        store.error = None
        assert runs.holds(run)
        assert await thread.commit(run, batch(), [Submission()]) is not None

    with_run(story)


def test_a_run_whose_record_cannot_be_applied_is_read_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def story(thread: RunThread, runs: RunRegistry, run: Run, store: Counting) -> None:
        def broken(self: object, record: object) -> None:
            raise AssertionError("a defect")

        with monkeypatch.context() as patched:
            patched.setattr(State, "apply", broken)
            assert await thread.commit(run, batch(), [Submission("id", b"body")]) is not None
            await thread.ask(int, run_id="run")
        assert not runs.holds(run)
        again = await thread.ask(runs.find, "run")
        assert again is not None
        assert await thread.on_run(again, lambda run: run.state.position) == 1

    with_run(story)
    assert "run run is read again" in caplog.text


# Groups


async def together(thread: RunThread, *calls: Coroutine[Any, Any, Any]) -> list[Any]:
    """What calls return or raise that wait for the thread at the same time."""
    begun, go_on = threading.Event(), threading.Event()

    def hold() -> bool:
        begun.set()
        return go_on.wait(30)

    held = asyncio.create_task(thread.ask(hold))
    assert await asyncio.to_thread(begun.wait, 30)
    waiting = [asyncio.create_task(call) for call in calls]
    await asyncio.sleep(0)
    go_on.set()
    assert await held
    return await asyncio.gather(*waiting, return_exceptions=True)


def commits(store: Counting) -> list[int]:
    """Grows with each transaction that becomes durable."""
    done: list[int] = []
    store._database.on_commit.append(lambda: done.append(1))
    return done


def test_batches_that_wait_together_are_one_transaction_and_what_they_are_one_by_one() -> None:
    seen: list[tuple[list[Any], str, list[Any]]] = []

    def story(*, at_once: bool) -> Callable[[RunThread, RunRegistry, Run, Counting], Coroutine[Any, Any, None]]:
        async def told(thread: RunThread, runs: RunRegistry, run: Run, store: Counting) -> None:
            durable = commits(store)
            calls = [thread.commit(run, batch(n), [Submission(f"id {n}", b"body")], look_up=True) for n in range(9)]
            answers = await together(thread, *calls) if at_once else [await call for call in calls]
            assert len(durable) == (1 if at_once else 9)
            responses = [answer.responses[0].fields for answer in answers]
            assert [one["position"] for one in responses] == [*range(1, 10)]
            state = await thread.on_run(run, lambda run: run.state.digest())
            for n, answer in enumerate(answers):
                assert await thread.replay(run, Submission(f"id {n}", b"body")) == replace(
                    answer.responses[0], replayed=True, written=None
                )
            records = await thread.on_run(run, lambda run: [unseal(one.payload) for one in run.journal.records()])
            kept = [(one.chain, one.first_serial, one.seats, one.effects.rewards.tolist()) for one in records]
            seen.append(([(one["chain"], one["rewards"].tolist()) for one in responses], state, kept))

        return told

    with_run(story(at_once=True))
    with_run(story(at_once=False))
    assert seen[0] == seen[1]


def test_a_batch_that_is_refused_leaves_those_it_waited_with_alone() -> None:
    async def story(thread: RunThread, runs: RunRegistry, run: Run, store: Counting) -> None:
        await thread.commit(run, batch(), [Submission("known", b"body")])
        durable = commits(store)
        narrow = batch(2)
        wide = replace(narrow, **{name: np.tile(getattr(narrow, name), 2) for name in ("prompts", "completions")})
        answers = await together(
            thread,
            thread.commit(run, batch(1), [Submission("one", b"body")]),
            thread.commit(run, wide, [Submission("wide", b"body")]),
            thread.commit(run, batch(2), [Submission("known", b"body")], look_up=True),
            thread.commit(run, batch(2), [Submission("known", b"other")], look_up=True),
            thread.commit(run, batch(2), [Submission("late", b"body")], begin_by=time.monotonic() - 1),
            thread.commit(run, batch(2), [Submission("one", b"body")]),
            thread.commit(run, batch(3), [Submission("two", b"body")]),
        )
        first, refused, known, other, late, twice, last = answers
        assert [first.record.position, last.record.position] == [2, 3]
        assert isinstance(refused, InvalidRequest)
        assert known.responses[0].replayed
        assert isinstance(other, InvalidRequest)
        assert isinstance(late, DeadlineExceeded)
        assert isinstance(twice, InternalError)
        assert len(durable) == 1
        assert runs.holds(run)
        assert await thread.on_run(run, lambda run: run.state.chain) == last.record.chain
        assert await thread.on_run(run, lambda run: run.state.position) == 3
        assert [one.position for one in run.journal.records()] == [1, 2, 3]

    with_run(story)


def test_a_group_whose_commit_fails_is_refused_as_a_whole_and_the_run_is_what_it_was() -> None:
    async def story(thread: RunThread, runs: RunRegistry, run: Run, store: Counting) -> None:
        await thread.commit(run, batch(), [Submission("before", b"body")])
        before = await thread.on_run(run, lambda run: run.state.digest())
        write = store._database.write

        def full(statement: str, *values: object) -> Any:
            if statement == "COMMIT":
                raise StoreFull("no room")
            return write(statement, *values)

        store._database.write = full  # type: ignore[method-assign]
        refused = await together(thread, *(thread.commit(run, batch(n), [Submission(f"{n}")]) for n in range(4)))
        assert [type(one) for one in refused] == [StoreFull] * 4
        store._database.write = write  # type: ignore[method-assign]
        again = await thread.ask(runs.find, "run")
        assert await thread.on_run(again, lambda run: run.state.digest()) == before
        done = await together(thread, *(thread.commit(again, batch(n), [Submission(f"{n}")]) for n in range(4)))
        assert [one.record.position for one in done] == [2, 3, 4, 5]

    with_run(story)


def test_a_full_disk_that_ends_the_transaction_within_a_group_refuses_it_as_a_whole() -> None:
    async def story(thread: RunThread, runs: RunRegistry, run: Run, store: Counting) -> None:
        insert, count = store.journal.append, 0

        def full(uid: int, record: StoredRecord, responses: Sequence[NewResponse]) -> None:
            nonlocal count
            count += 1
            insert(uid, record, responses)
            if count == 3:
                store._database.write("ROLLBACK")  # as SQLite does by itself
                raise StoreFull("no room")

        store.journal.append = full  # type: ignore[method-assign]
        refused = await together(thread, *(thread.commit(run, batch(n), [Submission(f"{n}")]) for n in range(5)))
        assert [type(one) for one in refused] == [StoreFull] * 5
        again = await thread.ask(runs.find, "run")
        assert await thread.on_run(again, lambda run: run.state.position) == 0
        committed = await thread.commit(again, batch(), [Submission("after")])
        assert committed is not None

    with_run(story)


def test_a_defect_in_one_batch_is_its_own_and_the_others_begin_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def story(thread: RunThread, runs: RunRegistry, run: Run, store: Counting) -> None:
        calls = [thread.commit(run, batch(n), [Submission(f"{n}")]) for n in range(4)]
        score, count = run_module.score, 0

        def broken(*args: Any, **named: Any) -> Any:
            nonlocal count
            count += 1
            if count == 3:
                raise AssertionError("a defect")
            return score(*args, **named)

        with monkeypatch.context() as patched:
            patched.setattr(run_module, "score", broken)
            one, two, three, four = await together(thread, *calls)
        assert [one, two, four] == [None] * 3
        assert isinstance(three, AssertionError)
        again = await thread.ask(runs.find, "run")
        assert await thread.on_run(again, lambda run: run.state.position) == 0

    with_run(story)


def test_what_is_asked_between_two_batches_is_done_between_them() -> None:
    async def story(thread: RunThread, runs: RunRegistry, run: Run, store: Counting) -> None:
        _, _, position, last = await together(
            thread,
            thread.commit(run, batch(1), [Submission()]),
            thread.commit(run, batch(2), [Submission()]),
            thread.on_run(run, lambda run: run.state.position),
            thread.commit(run, batch(3), [Submission()]),
        )
        assert position == 2
        assert last.record.position == 3

    with_run(story)


# Turns


def test_a_caller_that_has_left_leaves_no_work_behind() -> None:
    async def story(thread: RunThread, runs: RunRegistry, run: Run, store: Counting) -> None:
        begun, go_on = threading.Event(), threading.Event()

        def hold() -> bool:
            begun.set()
            return go_on.wait(10)

        held = asyncio.create_task(thread.ask(hold))
        assert await asyncio.to_thread(begun.wait, 10)
        left = asyncio.create_task(thread.commit(run, batch(1), [Submission()]))
        stays = asyncio.create_task(thread.commit(run, batch(2), [Submission()]))
        await asyncio.sleep(0)
        left.cancel()
        await asyncio.wait((left,))
        go_on.set()
        assert await held
        committed = await stays
        assert left.cancelled()
        assert committed is not None
        assert committed.record is not None
        assert committed.record.position == 1

    with_run(story)


def test_a_run_does_not_wait_for_the_queue_of_another() -> None:
    async def story(thread: RunThread, runs: RunRegistry, run: Run, store: Counting) -> None:
        done: list[str] = []

        def heavy() -> None:
            time.sleep(0.01)
            done.append("heavy")

        queue = [asyncio.create_task(thread.ask(heavy, run_id="heavy")) for _ in range(8)]
        await queue[0]
        await thread.commit(run, batch(), [Submission()])
        done.append("light")
        await asyncio.gather(*queue)
        assert done.index("light") <= 2, done

    with_run(story)


def test_a_run_that_is_deleted_while_runs_are_described_is_left_out() -> None:
    with registry(SqliteStore(None)) as runs:
        for name in ("a", "b"):
            runs.find_or_create(name, config(), None)
        listed = deque(runs.all_stored())
        runs.delete(listed[0])
        found: list[RunInfo] = []
        while listed:
            found += runs.describe_next(listed, recent=True)
        assert [(one.run_id, one.damaged) for one in found] == [("b", None)]
