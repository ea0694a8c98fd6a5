"""Abandoned requests: which retry gets which."""

import asyncio

from memr_service.app.openrlhf import AbandonedRequests, retries


def run(scenario):
    asyncio.run(asyncio.wait_for(scenario(), 10))


async def answering(answer):
    return answer


def waiting():
    return asyncio.get_running_loop().create_task(asyncio.Event().wait())


def test_the_oldest_request_with_a_body_is_taken_first_and_each_only_once():
    async def scenario():
        abandoned, first, second, other = AbandonedRequests(), waiting(), waiting(), waiting()
        abandoned.add(b"a", first)
        abandoned.add(b"b", other)
        abandoned.add(b"a", second)
        assert abandoned.take(b"c") is None
        assert [abandoned.take(b"a") for _ in range(3)] == [first, second, None]
        assert abandoned.take(b"b") is other
        assert len(abandoned) == 0
        assert not abandoned._by_body

    run(scenario)


def test_a_request_that_was_abandoned_again_can_be_taken_again():
    async def scenario():
        abandoned, work = AbandonedRequests(), waiting()
        for _ in range(3):
            abandoned.add(b"a", work)
            assert abandoned.take(b"a") is work

    run(scenario)


def test_a_finished_response_is_kept_and_a_failure_is_dropped():
    async def scenario():
        abandoned, done = AbandonedRequests(), asyncio.create_task(answering(b"answer"))
        failed, cancelled = asyncio.create_task(failing()), waiting()
        cancelled.cancel()
        await asyncio.wait([done, failed, cancelled])
        for work in (failed, cancelled, done):
            abandoned.add(b"a", work)
        assert abandoned.take(b"a").result() == b"answer"
        abandoned.add(b"a", failed)
        assert abandoned.take(b"a") is None

    async def failing():
        raise ValueError

    run(scenario)


def test_requests_are_dropped_by_age_and_by_number(monkeypatch):
    async def scenario():
        now = 0.0
        monkeypatch.setattr(retries.time, "monotonic", lambda: now)
        monkeypatch.setattr(retries, "CAPACITY", 3)
        abandoned, work = AbandonedRequests(), [waiting() for _ in range(5)]
        for number, one in enumerate(work):
            now = float(number)
            abandoned.add(b"ab"[number % 2 : number % 2 + 1], one)
        assert len(abandoned) == 3
        now = 3 + retries.MAX_AGE_S + 0.5
        assert abandoned.take(b"b") is None
        assert abandoned.take(b"a") is work[4]
        assert len(abandoned) == 0
        assert not abandoned._by_body

    run(scenario)
