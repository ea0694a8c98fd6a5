"""Seats that callers left: who may take which."""

import asyncio

from memr_service.app.openrlhf import AbandonedRequests, retries


def run(scenario):
    asyncio.run(asyncio.wait_for(scenario(), 10))


async def answering(answer):
    return answer


def waiting():
    return asyncio.get_running_loop().create_task(asyncio.Event().wait())


def test_the_oldest_seat_of_a_body_is_taken_first_and_each_only_once():
    async def scenario():
        left, first, second, other = AbandonedRequests(), waiting(), waiting(), waiting()
        left.leave(b"a", first)
        left.leave(b"b", other)
        left.leave(b"a", second)
        assert left.take(b"c") is None
        assert [left.take(b"a") for _ in range(3)] == [first, second, None]
        assert left.take(b"b") is other
        assert len(left) == 0
        assert not left._by_body

    run(scenario)


def test_a_seat_that_was_left_again_can_be_taken_again():
    async def scenario():
        left, work = AbandonedRequests(), waiting()
        for _ in range(3):
            left.leave(b"a", work)
            assert left.take(b"a") is work

    run(scenario)


def test_an_answer_nobody_heard_is_kept_but_a_failure_is_to_be_done_anew():
    async def scenario():
        left, done = AbandonedRequests(), asyncio.create_task(answering(b"answer"))
        failed, cancelled = asyncio.create_task(failing()), waiting()
        cancelled.cancel()
        await asyncio.wait([done, failed, cancelled])
        for work in (failed, cancelled, done):
            left.leave(b"a", work)
        assert left.take(b"a").result() == b"answer"
        left.leave(b"a", failed)
        assert left.take(b"a") is None

    async def failing():
        raise ValueError

    run(scenario)


def test_seats_are_forgotten_by_age_and_by_number(monkeypatch):
    async def scenario():
        now = 0.0
        monkeypatch.setattr(retries.time, "monotonic", lambda: now)
        monkeypatch.setattr(retries, "MOST", 3)
        left, work = AbandonedRequests(), [waiting() for _ in range(5)]
        for number, one in enumerate(work):
            now = float(number)
            left.leave(b"ab"[number % 2 : number % 2 + 1], one)
        assert len(left) == 3
        now = 3 + retries.LONGEST_S + 0.5
        assert left.take(b"b") is None
        assert left.take(b"a") is work[4]
        assert len(left) == 0
        assert not left._by_body

    run(scenario)
