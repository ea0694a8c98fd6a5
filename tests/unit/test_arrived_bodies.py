"""Bytes of bodies that have arrived: what there is room for, and who is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from memr_client.errors import Overloaded
from memr_service.app.arrived_bodies import ArrivedBodies


def test_one_body_may_fill_the_room_and_no_more() -> None:
    arrived = ArrivedBodies(100)
    arrived.add(0, 100)
    with pytest.raises(Overloaded) as refused:
        arrived.add(100, 1)
    assert (refused.value.value, refused.value.limit, refused.value.retry_after) == (101, 100, 1)
    arrived.remove(100)
    arrived.add(0, 100)


def test_in_a_full_room_bodies_up_to_an_equal_share_still_enter() -> None:
    arrived = ArrivedBodies(100)
    for _ in range(4):
        arrived.add(0, 25)
    arrived.add(0, 20)
    with pytest.raises(Overloaded):
        arrived.add(0, 17)
    arrived.add(0, 16)


@given(sizes=st.lists(st.tuples(st.integers(0, 20), st.integers(1, 60)), max_size=80), most=st.integers(1, 100))
def test_a_full_room_admits_equal_shares_and_never_more_than_twice_the_limit(
    sizes: list[tuple[int, int]], most: int
) -> None:
    arrived, kept = ArrivedBodies(most), dict[int, int]()
    for request, size in sizes:
        if size % 7 == 0 and request in kept:
            arrived.remove(kept.pop(request))
            continue
        before = sum(kept.values())
        after = {**kept, request: kept.get(request, 0) + size}
        if before + size <= most or (before + size <= 2 * most and after[request] * len(after) <= most):
            arrived.add(kept.get(request, 0), size)
            kept = after
        else:
            with pytest.raises(Overloaded):
                arrived.add(kept.get(request, 0), size)
