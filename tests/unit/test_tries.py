"""When a call is tried again, and when it fails."""

import random

import httpx
import pytest
from memr_client.tries import FIRST_PAUSE_S, Tries

LOST = httpx.ReadError("the connection broke")


def test_pauses_double_up_to_the_longest_and_are_cut_by_up_to_a_half():
    tries = Tries(timeout=1000, retries=12, longest_pause=4.0)
    for n in range(12):
        full = min(FIRST_PAUSE_S * 2**n, 4.0)
        assert full / 2 <= tries.pause_after(LOST) <= full
    assert tries.pause_after(LOST) is None
    assert tries.made == 13


def test_pauses_are_not_the_same_twice_and_do_not_draw_from_the_callers_generator():
    random.seed(1)
    state = random.getstate()
    assert len({Tries(1000, 1).pause_after(LOST) for _ in range(20)}) > 1
    assert random.getstate() == state


def test_retry_after_is_respected():
    asked = httpx.Response(503, headers={"retry-after": "9"})
    assert Tries(timeout=100, retries=3).pause_after(asked) == 9


def test_a_pause_that_does_not_fit_into_the_time_left_ends_the_call():
    asked = httpx.Response(503, headers={"retry-after": "9"})
    assert Tries(timeout=8, retries=3).pause_after(asked) is None
    assert Tries(timeout=0.0, retries=3).pause_after(LOST) is None


def test_only_transient_statuses_are_tried_again():
    later = {s for s in range(200, 600) if Tries(100, retries=3).pause_after(httpx.Response(s)) is not None}
    assert later == {429, 502, 503, 504}


@pytest.mark.parametrize(
    ("error", "again"),
    [
        (httpx.ConnectError, True),
        (httpx.ConnectTimeout, True),
        (httpx.ReadTimeout, True),
        (httpx.WriteError, True),
        (httpx.RemoteProtocolError, True),
        (httpx.LocalProtocolError, False),
        (httpx.UnsupportedProtocol, False),
        (httpx.DecodingError, False),
    ],
)
def test_a_broken_connection_is_tried_again_and_a_callers_mistake_is_not(error, again):
    assert (Tries(timeout=100, retries=3).pause_after(error("x")) is not None) == again


def test_every_try_gets_the_time_that_is_left_and_connecting_gets_less():
    limits = Tries(timeout=100, retries=3).limits()
    assert 99 < limits.read <= 100
    assert limits.connect == 10
    assert Tries(timeout=0.0, retries=3).limits().read > 0
