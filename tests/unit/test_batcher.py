"""The batcher with encoders that wait for a word, count what they see, or fail."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Sequence

import numpy as np
import pytest
from memr_client.errors import DeadlineExceeded, InvalidRequest, Overloaded, Unavailable
from memr_service.encoder import Encoded, Encoders, HashedEncoder
from memr_service.encoder.batcher import BUDGET, TOKEN_CHARS, TURN, Batcher


class Gated(HashedEncoder):
    """Notes each call's texts, says that it has begun, and goes on when it is let."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []
        self.threads: set[int] = set()
        self.begun, self.gate = threading.Event(), threading.Event()

    def encode(self, texts: Sequence[str], precision: str = "float32", long_text: str = "truncate") -> Encoded:
        self.calls.append(list(texts))
        self.threads.add(threading.get_ident())
        self.begun.set()
        assert self.gate.wait(10)
        if "bad" in texts:
            raise ValueError("cannot read this")
        vectors = super().encode(texts).vectors
        return Encoded(vectors, np.array([text.startswith("long") for text in texts]))


class Offered(Encoders):
    """One encoder under every name but `missing`."""

    def __init__(self, encoder: Gated) -> None:
        super().__init__(["gated"])
        self.encoder = encoder

    def load(self, name: str) -> Gated:
        if name == "missing":
            raise Unavailable("there is no such model")
        self.check(name)
        return self.encoder


class Bench:
    """A batcher over a gated encoder; leaving the block opens the gate and closes it."""

    def __init__(self, max_queue_texts: int = 100, shut: bool = False) -> None:
        self.encoder = Gated()
        if not shut:
            self.encoder.gate.set()
        self.batcher = Batcher(Offered(self.encoder), max_queue_texts)

    def __enter__(self) -> Bench:
        return self

    def __exit__(self, *_: object) -> None:
        self.encoder.gate.set()
        self.batcher.close()

    def start(
        self, *texts: str, name: str = "gated", within: float | None = None, alone: bool = False
    ) -> asyncio.Task[Encoded]:
        """A request under way, `within` so many seconds."""
        deadline = None if within is None else time.monotonic() + within
        return asyncio.create_task(self.batcher.encode(name, list(texts), "float32", "truncate", deadline, alone))

    async def occupy(self) -> asyncio.Task[Encoded]:
        """Keep the encoder busy with one text until the gate opens."""
        task = self.start("busy")
        assert await asyncio.to_thread(self.encoder.begun.wait, 10)
        return task

    async def queue(self, *texts: str, within: float | None = None) -> asyncio.Task[Encoded]:
        """A request that waits."""
        task = self.start(*texts, within=within)
        await asyncio.sleep(0)
        return task


def test_vectors_come_back_in_the_order_of_the_texts_and_each_distinct_text_is_encoded_once() -> None:
    async def scenario() -> None:
        with Bench() as bench:
            encoded = await bench.start("b", "a", "long b", "a", "b")
            assert bench.encoder.calls == [["b", "a", "long b"]]
            assert np.array_equal(encoded.vectors, HashedEncoder().encode(["b", "a", "long b", "a", "b"]).vectors)
            assert encoded.truncated.tolist() == [False, False, True, False, False]
            assert bench.batcher.queued_texts == 0

    asyncio.run(scenario())


def test_each_distinct_text_is_encoded_by_itself_where_that_is_asked_for() -> None:
    async def scenario() -> None:
        with Bench() as bench:
            encoded = await bench.start("b", "a", "long b", "a", alone=True)
            assert bench.encoder.calls == [["b"], ["a"], ["long b"]]
            assert np.array_equal(encoded.vectors, HashedEncoder().encode(["b", "a", "long b", "a"]).vectors)
            assert encoded.truncated.tolist() == [False, False, True, False]

    asyncio.run(scenario())


def test_texts_that_were_encoded_before_wait_for_nothing() -> None:
    async def scenario() -> None:
        with Bench() as bench:
            first = await bench.start("long a", "b")
            bench.encoder.gate.clear()
            bench.encoder.begun.clear()
            busy = await bench.occupy()
            again = await asyncio.wait_for(bench.start("b", "long a", "b"), 10)
            assert not busy.done()
            assert np.array_equal(again.vectors, first.vectors[[1, 0, 1]])
            assert again.truncated.tolist() == [False, True, False]
            waits = await bench.queue("b", "new")
            assert not waits.done()
            bench.encoder.gate.set()
            assert np.array_equal((await waits).vectors[0], first.vectors[1])
            await busy

    asyncio.run(scenario())


def test_no_texts_are_no_vectors() -> None:
    async def scenario() -> None:
        with Bench() as bench:
            assert (await bench.start()).vectors.shape == (0, 384)
            assert (await bench.start(alone=True)).vectors.shape == (0, 384)

    asyncio.run(scenario())


def test_requests_that_come_while_the_encoder_is_busy_share_its_next_call() -> None:
    async def scenario() -> None:
        with Bench(shut=True) as bench:
            tasks = [await bench.occupy(), *[await bench.queue(f"text {place}", "prompt") for place in range(8)]]
            bench.encoder.gate.set()
            _, *answers = await asyncio.gather(*tasks)
            assert bench.encoder.calls == [["busy"], ["text 0", "prompt", *[f"text {place}" for place in range(1, 8)]]]
            assert len(bench.encoder.threads) == 1
            assert threading.get_ident() not in bench.encoder.threads
            for place, answer in enumerate(answers):
                expected = HashedEncoder().encode([f"text {place}", "prompt"]).vectors
                assert np.array_equal(answer.vectors, expected)

    asyncio.run(scenario())


def test_texts_of_different_kinds_are_not_encoded_in_one_call() -> None:
    async def scenario() -> None:
        with Bench(shut=True) as bench:
            tasks = [await bench.occupy()]
            for text, precision in (("a", "float32"), ("b", "bfloat16"), ("c", "float32")):
                encoding = bench.batcher.encode("gated", [text], precision, "truncate", None)
                tasks.append(asyncio.create_task(encoding))
                await asyncio.sleep(0)
            bench.encoder.gate.set()
            await asyncio.gather(*tasks)
            assert bench.encoder.calls == [["busy"], ["a", "c"], ["b"]]

    asyncio.run(scenario())


def test_requests_take_turns_so_that_a_large_one_does_not_hold_up_the_small_ones() -> None:
    async def scenario() -> None:
        with Bench(max_queue_texts=10_000, shut=True) as bench:
            long = "x" * (BUDGET * TOKEN_CHARS // (2 * TURN))  # two turns of such texts fill a call
            large = [f"{place} {long}" for place in range(4 * TURN)]
            tasks = [
                await bench.occupy(),
                await bench.queue(*large),
                await bench.queue("small"),
                await bench.queue("b"),
            ]
            bench.encoder.gate.set()
            answers = await asyncio.gather(*tasks)
            _, first, *others = bench.encoder.calls
            assert first[:TURN] == large[:TURN]
            assert first[TURN : TURN + 2] == ["small", "b"]
            assert others  # it did not fit into one call
            assert [text for call in bench.encoder.calls[1:] for text in call if text in large] == large
            assert np.array_equal(answers[1].vectors, HashedEncoder().encode(large).vectors)

    asyncio.run(scenario())


def test_what_is_left_of_a_large_request_is_not_encoded_once_its_caller_has_left() -> None:
    async def scenario() -> None:
        with Bench(max_queue_texts=10_000, shut=True) as bench:
            leaving = await bench.queue(*(f"{place} {'x' * BUDGET}" for place in range(3 * TURN)))
            assert await asyncio.to_thread(bench.encoder.begun.wait, 10)
            leaving.cancel()
            with pytest.raises(asyncio.CancelledError):
                await leaving
            assert bench.batcher.queued_texts == 0
            bench.encoder.gate.set()
            await bench.start("a")
            assert len(bench.encoder.calls) == 2

    asyncio.run(scenario())


def test_a_text_that_comes_again_is_not_encoded_again_unless_it_is_to_be_encoded_by_itself() -> None:
    async def scenario() -> None:
        with Bench() as bench:
            first = await bench.start("prompt", "long completion")
            again = await bench.start("long completion", "another", "prompt")
            assert bench.encoder.calls == [["prompt", "long completion"], ["another"]]
            assert np.array_equal(again.vectors[[2, 0]], first.vectors)
            assert again.truncated.tolist() == [True, False, False]
            await bench.start("prompt", alone=True)
            await bench.start("prompt", alone=True)
            assert bench.encoder.calls[2:] == [["prompt"], ["prompt"]]

    asyncio.run(scenario())


def test_callers_in_several_event_loops_share_one_encoder() -> None:
    with Bench(max_queue_texts=1000) as bench:

        async def scenario(place: int) -> np.ndarray:
            tasks = [bench.start(f"{place}", f"{item}") for item in range(20)]
            return np.concatenate([encoded.vectors for encoded in await asyncio.gather(*tasks)])

        found: dict[int, np.ndarray] = {}
        callers = [
            threading.Thread(target=lambda place=place: found.update({place: asyncio.run(scenario(place))}))
            for place in range(4)
        ]
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join(20)
        for place in range(4):
            texts = [text for item in range(20) for text in (f"{place}", f"{item}")]
            assert np.array_equal(found[place], HashedEncoder().encode(texts).vectors)
        assert len(bench.encoder.threads) == 1


def test_a_full_queue_refuses_at_once_and_changes_nothing() -> None:
    async def scenario() -> None:
        with Bench(max_queue_texts=3, shut=True) as bench:
            waiting = [await bench.occupy(), await bench.queue("a", "b", "a")]
            assert bench.batcher.queued_texts == 2
            with pytest.raises(Overloaded) as caught:
                await bench.start("c", "d")
            assert (caught.value.value, caught.value.limit) == (4, 3)
            assert caught.value.retry_after is not None
            assert 1 <= caught.value.retry_after <= 60
            assert bench.batcher.queued_texts == 2
            waiting.append(await bench.queue("c"))
            bench.encoder.gate.set()
            await asyncio.gather(*waiting)
            assert bench.encoder.calls == [["busy"], ["a", "b", "c"]]

    asyncio.run(scenario())


def test_a_request_beyond_the_bound_passes_when_nothing_waits() -> None:
    async def scenario() -> None:
        with Bench(max_queue_texts=3, shut=True) as bench:
            await bench.occupy()
            large = await bench.queue(*"abcdefgh")
            with pytest.raises(Overloaded):
                await bench.start("i")
            bench.encoder.gate.set()
            assert (await large).vectors.shape == (8, 384)

    asyncio.run(scenario())


def test_a_request_that_is_not_begun_in_time_is_answered_at_its_deadline_and_never_encoded() -> None:
    async def scenario() -> None:
        with Bench(shut=True) as bench:
            busy = await bench.occupy()
            with pytest.raises(DeadlineExceeded) as caught:
                await bench.start("late", within=0.02)
            assert caught.value.remedy is not None
            assert bench.batcher.queued_texts == 0
            bench.encoder.gate.set()
            await busy
            await bench.start("next")
            assert bench.encoder.calls == [["busy"], ["next"]]

    asyncio.run(scenario())


def test_a_request_that_has_begun_is_finished_beyond_its_deadline() -> None:
    async def scenario() -> None:
        with Bench(shut=True) as bench:
            slow = bench.start("slow", within=0.5)
            assert await asyncio.to_thread(bench.encoder.begun.wait, 10)
            with pytest.raises(DeadlineExceeded):
                await bench.start("behind it", within=0.5)
            bench.encoder.gate.set()
            assert (await slow).vectors.shape == (1, 384)

    asyncio.run(scenario())


def test_whoever_comes_after_requests_that_were_all_too_late_is_answered() -> None:
    async def scenario() -> None:
        with Bench() as bench:
            for number in range(200):
                with pytest.raises(DeadlineExceeded):
                    await bench.start(f"late {number}", within=-1)
            await asyncio.wait_for(bench.start("in time"), 10)

    asyncio.run(scenario())


def test_a_deadline_that_has_passed_costs_nothing() -> None:
    async def scenario() -> None:
        with Bench() as bench:
            with pytest.raises(DeadlineExceeded):
                await bench.start("late", within=-1)
            await bench.start("next")
            assert bench.encoder.calls == [["next"]]

    asyncio.run(scenario())


def test_a_cancelled_caller_s_texts_leave_the_queue_and_are_never_encoded() -> None:
    async def scenario() -> None:
        with Bench(max_queue_texts=3, shut=True) as bench:
            busy = await bench.occupy()
            given_up = await bench.queue("a", "b")
            given_up.cancel()
            with pytest.raises(asyncio.CancelledError):
                await given_up
            assert bench.batcher.queued_texts == 0
            kept = await bench.queue("c", "d", "e")
            bench.encoder.gate.set()
            await asyncio.gather(busy, kept)
            assert bench.encoder.calls == [["busy"], ["c", "d", "e"]]

    asyncio.run(scenario())


def test_a_caller_that_leaves_while_its_texts_are_encoded_disturbs_nobody() -> None:
    async def scenario() -> None:
        with Bench(shut=True) as bench:
            leaving = await bench.occupy()
            leaving.cancel()
            with pytest.raises(asyncio.CancelledError):
                await leaving
            staying = await bench.queue("a")
            bench.encoder.gate.set()
            assert (await staying).vectors.shape == (1, 384)

    asyncio.run(scenario())


def test_a_failing_encoder_answers_its_caller_and_the_worker_lives_on() -> None:
    async def scenario() -> None:
        with Bench(shut=True) as bench:
            tasks = [await bench.occupy(), await bench.queue("bad", "good"), await bench.queue("good")]
            bench.encoder.gate.set()
            _, failed, fine = await asyncio.gather(*tasks, return_exceptions=True)
            assert isinstance(failed, ValueError)
            assert isinstance(fine, Encoded)

    asyncio.run(scenario())


def test_an_encoder_that_cannot_be_had_is_told_to_whoever_asked_for_it() -> None:
    async def scenario() -> None:
        with Bench() as bench:
            with pytest.raises(Unavailable, match="no such model"):
                await bench.start("a", name="missing")
            with pytest.raises(InvalidRequest):
                await bench.start("a", name="another")
            await bench.start("a")
            assert bench.encoder.calls == [["a"]]

    asyncio.run(scenario())


def test_closing_answers_all_who_wait_finishes_what_is_begun_and_refuses_the_rest() -> None:
    async def scenario() -> None:
        bench = Bench(shut=True)
        begun, waiting = await bench.occupy(), [await bench.queue("a"), await bench.queue("b")]
        bench.batcher.close()
        bench.batcher.close()
        for task in waiting:
            with pytest.raises(Unavailable, match="shutting down"):
                await task
        with pytest.raises(Unavailable, match="shutting down"):
            await bench.start("c")
        assert bench.batcher.queued_texts == 0
        bench.encoder.gate.set()
        assert (await begun).vectors.shape == (1, 384)
        assert bench.encoder.calls == [["busy"]]

    asyncio.run(scenario())


def test_a_closed_batcher_s_thread_ends() -> None:
    others = set(threading.enumerate())
    bench = Bench()
    own = {thread for thread in threading.enumerate() if thread.name == "memr-encoder"} - others
    assert own
    bench.batcher.close()
    for thread in own:
        thread.join(10)
    assert not any(thread.is_alive() for thread in own)


def test_many_requests_some_of_them_given_up_leave_an_empty_queue() -> None:
    async def scenario() -> None:
        with Bench(max_queue_texts=10_000) as bench:
            tasks = [bench.start(f"{place}", f"{place % 7}", within=10) for place in range(400)]
            for place, task in enumerate(tasks):
                if place % 3 == 0:
                    await asyncio.sleep(0)
                    task.cancel()
            answers = await asyncio.gather(*tasks, return_exceptions=True)
            for place, answer in enumerate(answers):
                if isinstance(answer, Encoded):
                    expected = HashedEncoder().encode([f"{place}", f"{place % 7}"]).vectors
                    assert np.array_equal(answer.vectors, expected)
                else:
                    assert isinstance(answer, asyncio.CancelledError)
                    assert place % 3 == 0
            assert bench.batcher.queued_texts == 0

    asyncio.run(scenario())
