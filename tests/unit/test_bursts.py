"""Bursts: work that comes in bursts is done in order, a few pieces in each iteration of the event loop."""

import asyncio
import itertools

from memr_service.app.bursts import TOGETHER, Bursts


def test_few_are_called_at_once_and_many_in_their_order_with_others_in_between():
    async def burst():
        turns, done, seen = Bursts(), [], []
        for number in range(5 * TOGETHER):
            turns.call(lambda number=number: done.append(number))
        seen.append(len(done))
        while len(done) < 5 * TOGETHER:
            await asyncio.sleep(0)
            seen.append(len(done))
        turns.call(lambda: done.append("next"))
        return done, seen

    done, seen = asyncio.run(burst())
    assert done == [*range(5 * TOGETHER), "next"]
    assert seen[0] == TOGETHER
    assert len(seen) >= 5
    assert max(after - before for before, after in itertools.pairwise(seen)) <= TOGETHER
