"""The verifier pool's order and time limit, with judges that only pretend to work and a clock that only they move."""

from __future__ import annotations

import asyncio
import math
import selectors

import pytest
from memr_service.app.judging.verifier_pool import PROCESSES, QUICK_S, SLOW_PROCESSES, VerifierPool
from memr_service.engine.text_thread import TextThread
from memr_service.verifiers.math import LIMIT_S


class Clock(asyncio.SelectorEventLoop):
    """An event loop that does not wait: its time goes on to the next timer."""

    def __init__(self):
        super().__init__(_Jump(self))
        self.now = 0.0

    def time(self):
        return self.now


class _Jump(selectors.SelectSelector):
    def __init__(self, clock):
        super().__init__()
        self._clock = clock

    def select(self, timeout=None):
        assert timeout is not None, "everything waits, and nothing will happen"
        self._clock.now += max(timeout, 0)
        return super().select(0)


class Judges:
    """Starts judges. "3.5 s" takes 3.5 s and is right if the answer is the same; "never" takes for ever."""

    def __init__(self):
        self.judged = []
        self.busy = self.most_busy = self.started = 0

    async def start(self):
        self.started += 1
        return Judge(self)


class Judge:
    is_alive = True

    def __init__(self, all_of_them):
        self._all = all_of_them

    async def judge(self, completion, answer, seconds):
        needs = float("inf") if completion.startswith("never") else float(completion.split()[0])
        self._all.judged.append((completion, seconds))
        self._all.busy += 1
        self._all.most_busy = max(self._all.most_busy, self._all.busy)
        await asyncio.sleep(min(needs, seconds))
        self._all.busy -= 1
        return "unjudged" if needs > seconds else "right" if completion.endswith(answer) else "wrong"

    async def stop(self):
        self.is_alive = False


def play(scenario):
    """The result of a coroutine function of a pool and its judges, on a clock of its own."""
    loop = Clock()
    try:
        judges = Judges()
        pool = VerifierPool(TextThread(10), judges.start)

        async def whole():
            try:
                return await scenario(pool, judges)
            finally:
                await pool.close()

        return loop.run_until_complete(whole())
    finally:
        loop.close()


async def timed(pool, completions, seconds=60.0, answer="s", run="run"):
    """The outcomes of completions, and the seconds that they took."""
    clock = asyncio.get_running_loop()
    before = clock.time()
    judged = await pool.outcomes(run, "math", completions, [answer] * len(completions), seconds)
    return judged, clock.time() - before


def test_a_quick_one_does_not_wait_for_eight_slow_ones():
    """Answered in the order of arrival it would wait 2 * LIMIT_S: eight slow ones in four processes."""

    async def scenario(pool, judges):
        slow = asyncio.create_task(timed(pool, [f"{LIMIT_S - 0.2} {number} s" for number in range(8)]))
        await asyncio.sleep(0.01)
        quick, waited = await timed(pool, ["0.01 s"])
        return quick, waited, await slow

    quick, waited, (slow, took) = play(scenario)
    assert quick.outcomes == [1.0]
    assert waited == pytest.approx(8 / PROCESSES * QUICK_S, abs=0.05)
    assert slow.outcomes == [1.0] * 8
    assert took <= math.ceil(8 / SLOW_PROCESSES) * LIMIT_S + 2 * QUICK_S


def test_later_quick_ones_find_a_process_while_slow_ones_are_tried_again():
    async def scenario(pool, judges):
        slow = asyncio.create_task(timed(pool, [f"{LIMIT_S - 0.2} {number} s" for number in range(20)]))
        await asyncio.sleep(6)
        waits = [(await timed(pool, [f"0.01 later {number} s"]))[1] for number in range(10)]
        await slow
        return waits

    assert max(play(scenario)) == pytest.approx(0.01)


def test_a_step_with_more_slow_ones_than_its_time_allows_is_answered_in_time():
    """140 slow ones in the order of arrival would take 175 s, and OpenRLHF gives up after 180 s."""

    async def scenario(pool, judges):
        completions = [f"never {number}" for number in range(140)] + [f"0.01 {number} s" for number in range(60)]
        requests = [timed(pool, [completion], seconds=30.0) for completion in completions]
        return await asyncio.gather(*requests)

    answers = play(scenario)
    assert max(took for _, took in answers) <= 30.0
    assert [judged.outcomes for judged, _ in answers] == [[0.0]] * 140 + [[1.0]] * 60
    assert [judged.unjudged for judged, _ in answers] == [[True]] * 140 + [[False]] * 60


def test_what_nobody_waits_for_any_more_is_not_tried():
    async def scenario(pool, judges):
        await timed(pool, [f"never {number}" for number in range(100)], seconds=5.0)
        tried = len(judges.judged)
        await asyncio.sleep(100)
        return len(judges.judged) - tried, await timed(pool, ["0.01 s"])

    more, (judged, took) = play(scenario)
    assert more == 0
    assert judged.outcomes == [1.0]
    assert took == pytest.approx(0.01)


def test_runs_take_turns():
    """In the order of arrival the other run would wait for a hundred first tries."""

    async def scenario(pool, judges):
        mine = asyncio.create_task(timed(pool, [f"never {number}" for number in range(100)], run="mine"))
        await asyncio.sleep(1)
        quick = [(await timed(pool, [f"0.01 {number} s"], run="other"))[1] for number in range(5)]
        slow = (await timed(pool, ["2 s"], run="other"))[1]
        await mine
        return quick, slow

    quick, slow = play(scenario)
    assert max(quick) <= 2 * QUICK_S
    assert slow <= 2 * QUICK_S + LIMIT_S + 2


def test_what_a_caller_asked_who_has_left_is_not_begun():
    async def scenario(pool, judges):
        mine = asyncio.create_task(timed(pool, [f"never {number}" for number in range(100)], run="mine"))
        await asyncio.sleep(0.1)
        mine.cancel()
        await asyncio.sleep(0)
        _, waited = await timed(pool, ["0.01 s"], run="other")
        await asyncio.sleep(100)
        return waited, len(judges.judged)

    waited, tried = play(scenario)
    assert waited <= QUICK_S
    assert tried == PROCESSES + 1


def test_one_who_leaves_takes_no_verdict_from_another_caller():
    async def scenario(pool, judges):
        leaves = asyncio.create_task(timed(pool, ["2 s"]))
        stays = asyncio.create_task(timed(pool, ["2 s"]))
        await asyncio.sleep(0.1)
        leaves.cancel()
        return await stays

    judged, _ = play(scenario)
    assert judged.outcomes == [1.0]


def test_equal_completions_are_judged_once():
    async def scenario(pool, judges):
        first, second = await asyncio.gather(timed(pool, ["2 s", "2 s", "2 x"]), timed(pool, ["2 s"]))
        third, took = await timed(pool, ["2 s", "2 x"])
        other = await timed(pool, ["2 s"], answer="x")
        return first[0].outcomes, second[0].outcomes, third.outcomes, took, other[0].outcomes, judges.judged

    first, second, third, took, other, judged = play(scenario)
    assert (first, second, third, other) == ([1.0, 1.0, 0.0], [1.0], [1.0, 0.0], [0.0])
    assert took == 0
    assert sorted(judged) == sorted([("2 s", QUICK_S), ("2 s", LIMIT_S)] * 2 + [("2 x", QUICK_S), ("2 x", LIMIT_S)])


def test_one_that_waits_longer_keeps_an_equal_one_going():
    async def scenario(pool, judges):
        short = asyncio.create_task(timed(pool, ["2 s"], seconds=1.0))
        return await timed(pool, ["2 s"], seconds=10.0), await short

    (judged, _), (gave_up, _) = play(scenario)
    assert judged.outcomes == [1.0]
    assert (gave_up.outcomes, gave_up.unjudged) == ([0.0], [True])


def test_processes_are_few_and_used_again():
    async def scenario(pool, judges):
        for step in range(5):
            await timed(pool, [f"{number % 3} {step} {number} s" for number in range(40)])
        return judges

    judges = play(scenario)
    assert judges.most_busy == judges.started == PROCESSES


def test_closing_answers_what_waits():
    async def scenario(pool, judges):
        waiting = asyncio.create_task(timed(pool, [f"never {number}" for number in range(9)]))
        await asyncio.sleep(1)
        await pool.close()
        return await waiting

    judged, took = play(scenario)
    assert judged.unjudged == [True] * 9
    assert took == pytest.approx(1)


def test_a_judge_that_cannot_start_leaves_completions_unjudged():
    async def scenario(pool, judges):
        async def start():
            raise OSError("no process")

        broken = VerifierPool(TextThread(10), start)
        return await timed(broken, ["0.1 s"] * 3)

    judged, _ = play(scenario)
    assert judged.unjudged == [True] * 3
