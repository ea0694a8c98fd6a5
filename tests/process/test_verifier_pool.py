"""The verifier pool's processes: outcomes in order, and processes that hang, die or are no longer needed."""

import asyncio
import time

import pytest
from memr_client.errors import InvalidRequest
from memr_service.app.judging import verifier_pool
from memr_service.app.judging.verifier_pool import VerifierPool
from memr_service.engine.text_thread import TextThread

HANGS = "$9^{9^{9}}!$"


def run(scenario):
    """The result of a coroutine function that takes a pool."""

    async def whole():
        texts = TextThread(10)
        one = VerifierPool(texts)
        try:
            return await asyncio.wait_for(scenario(one), 90)
        finally:
            await one.close()
            texts.close()

    return asyncio.run(whole())


async def outcomes(pool, verifier, completions, answers, seconds=60.0):
    return (await pool.outcomes("run", verifier, completions, answers, seconds)).outcomes


def test_completions_get_their_outcomes_in_order_from_any_verifier():
    async def scenario(one):
        return [
            await outcomes(one, "exact", ["a", "b"], ["a", "a"]),
            await outcomes(one, "numeric", ["it is 2", "3"], ["2.0", "2"]),
            await outcomes(one, "numeric", [str(n) for n in range(100)], ["7"] * 100),
            await outcomes(one, "math", [r"\boxed{\frac{1}{2}}", "1", ".5"], ["0.5"] * 3),
            await outcomes(one, "math", [], []),
        ]

    assert run(scenario) == [[1, 0], [1, 0], [float(n == 7) for n in range(100)], [1, 0, 1], []]


def test_processes_are_used_again_and_are_few():
    async def scenario(one):
        judged = await outcomes(one, "math", [str(i) for i in range(20)], ["7"] * 20)
        return judged, len(one._idle)

    judged, processes = run(scenario)
    assert judged.index(1.0) == 7
    assert sum(judged) == 1
    assert processes <= verifier_pool.PROCESSES


def test_a_verification_that_hangs_is_not_judged_and_delays_no_other(monkeypatch):
    monkeypatch.setattr(verifier_pool, "LIMIT_S", 0.2)
    monkeypatch.setattr(verifier_pool, "QUICK_S", 0.1)

    async def scenario(one):
        await outcomes(one, "math", ["1"], ["1"])  # so that a process is already running
        started = time.monotonic()
        slow = asyncio.create_task(one.outcomes("run", "math", [HANGS], ["42"], 30.0))
        quick = await outcomes(one, "math", ["42"], ["42"])
        return await slow, quick, time.monotonic() - started, await outcomes(one, "math", ["43"], ["42"])

    slow, quick, waited, after = run(scenario)
    assert (slow.outcomes, slow.unjudged) == ([0.0], [True])
    assert (quick, after) == ([1.0], [0.0])
    assert waited < 30


def test_a_process_that_dies_is_replaced():
    async def scenario(one):
        await outcomes(one, "math", ["1"], ["1"])
        one._idle[0]._process.kill()
        first = await outcomes(one, "math", ["2"], ["2"])
        one._idle[0]._process.kill()
        await one._idle[0]._process.wait()
        return first, await outcomes(one, "math", ["3"], ["3"])

    assert run(scenario) == ([1.0], [1.0])


@pytest.mark.parametrize(("verifier", "answer"), [("numeric", "words"), ("math", "$$")])
def test_an_answer_that_cannot_be_read_is_refused(verifier, answer):
    async def scenario(one):
        with pytest.raises(InvalidRequest):
            await outcomes(one, verifier, ["1"], [answer])
        return await outcomes(one, verifier, ["1"], ["1"])

    assert run(scenario) == [1.0]


@pytest.mark.parametrize("text", ["it is 5 \ud83d", "it is 5\x00", "\x00", "5 \udc00 and \ud800"])
def test_a_text_with_broken_characters_is_judged(text):
    async def scenario(one):
        return await outcomes(one, "math", [text, "5"], ["5", "5"]), await outcomes(one, "numeric", [text], ["5"])

    (judged, whole), numeric = run(scenario)
    assert whole == 1.0
    assert {judged, *numeric} <= {0.0, 1.0}


def test_processes_end_with_the_pool():
    async def scenario(one):
        await outcomes(one, "math", ["1"], ["1"])
        (judge,) = one._idle
        await one.close()
        return judge.is_alive

    assert run(scenario) is False
