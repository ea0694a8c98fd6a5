"""The verifier pool: outcomes in order, and processes that hang, die or are no longer needed."""

import asyncio
import logging
import time

import pytest
from memr_client.errors import InvalidRequest
from memr_service.app.openrlhf import verifier_pool
from memr_service.app.openrlhf.verifier_pool import VerifierPool


def run(scenario):
    """The result of a coroutine function that takes a pool."""

    async def whole():
        one = VerifierPool()
        try:
            return await asyncio.wait_for(scenario(one), 60)
        finally:
            await one.close()

    return asyncio.run(whole())


def test_completions_get_their_outcomes_in_order_from_any_verifier():
    async def scenario(one):
        return [
            await one.outcomes("exact", ["a", "b"], ["a", "a"]),
            await one.outcomes("numeric", ["it is 2", "3"], ["2.0", "2"]),
            await one.outcomes("math", [r"\boxed{\frac{1}{2}}", "1", ".5"], ["0.5"] * 3),
            await one.outcomes("math", [], []),
        ]

    assert run(scenario) == [[1, 0], [1, 0], [1, 0, 1], []]


def test_processes_are_used_again_and_are_few():
    async def scenario(one):
        outcomes = await one.outcomes("math", [str(i) for i in range(20)], ["7"] * 20)
        return outcomes, len(one._idle)

    outcomes, processes = run(scenario)
    assert outcomes.index(1.0) == 7
    assert sum(outcomes) == 1
    assert processes <= verifier_pool.PROCESSES


def test_a_verification_that_takes_too_long_counts_as_wrong(monkeypatch, caplog):
    monkeypatch.setattr(verifier_pool, "TIMEOUT_S", 0.5)
    caplog.set_level(logging.WARNING, "memr")

    async def scenario(one):
        await one.outcomes("math", ["1"], ["1"])  # so that a process is already running
        started = time.monotonic()
        slow = await one.outcomes("math", ["$9^{9^{9}}!$"], ["42"])
        waited = time.monotonic() - started
        monkeypatch.setattr(verifier_pool, "TIMEOUT_S", 30)
        return slow, waited, await one.outcomes("math", ["42"], ["42"])

    slow, waited, after = run(scenario)
    assert (slow, after) == ([0.0], [1.0])
    assert waited < 4
    assert "TimeoutError" in caplog.text
    assert "9^" not in caplog.text


def test_a_process_that_dies_is_replaced():
    async def scenario(one):
        await one.outcomes("math", ["1"], ["1"])
        one._idle[0].kill()
        await one._idle[0].wait()
        return await one.outcomes("math", ["1"], ["1"]), await one.outcomes("math", ["1"], ["1"])

    assert run(scenario) == ([0.0], [1.0])


@pytest.mark.parametrize(("verifier", "answer"), [("numeric", "words"), ("math", "$$")])
def test_an_answer_that_cannot_be_read_is_refused(verifier, answer):
    async def scenario(one):
        with pytest.raises(InvalidRequest):
            await one.outcomes(verifier, ["1"], [answer])
        return await one.outcomes(verifier, ["1"], ["1"])

    assert run(scenario) == [1.0]


def test_processes_end_with_the_pool():
    async def scenario(one):
        await one.outcomes("math", ["1"], ["1"])
        (process,) = one._idle
        await one.close()
        return process.returncode

    assert run(scenario) is not None
