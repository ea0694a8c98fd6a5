"""When a call is tried again, and when it fails."""

import math
import random
from decimal import Decimal
from fractions import Fraction

import httpx
import pytest
from memr_client import AsyncRewardClient, InvalidRequest, RewardClient
from memr_client.openrlhf import RewardFunction
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
    tries = Tries(timeout=100, retries=3)
    limits = tries.limits()
    assert 99 < limits.read <= 100
    assert limits.connect == 2  # an address that does not respond is reported soon
    tries.pause_after(httpx.ConnectTimeout("slow"))
    assert tries.limits().connect == 10
    assert Tries(timeout=100, retries=0).limits().connect == 10
    assert Tries(timeout=0.0, retries=3).limits().read > 0


NO_NUMBERS = [None, "5", True, False, math.nan, -1, -math.inf, 10**400, Decimal(1), [1], 1j]


@pytest.mark.parametrize("client", [RewardClient, AsyncRewardClient])
@pytest.mark.parametrize(
    ("argument", "wrong"),
    [
        *(("timeout", given) for given in [*NO_NUMBERS, 0, 0.0]),
        *(("wait", given) for given in NO_NUMBERS),
        *(("retries", given) for given in [*NO_NUMBERS, 0.5]),
    ],
)
def test_what_is_no_time_and_no_number_of_tries_is_refused(client, argument, wrong):
    with pytest.raises(
        InvalidRequest, match=rf"^{argument} is .+, but must be a .*number.* (above|at least) 0"
    ) as caught:
        client("http://memr", **{argument: wrong})
    assert caught.value.limit
    assert "float('inf')" in caught.value.remedy


def test_numbers_of_every_kind_are_taken():
    client = RewardClient(timeout=Fraction(1, 2), retries=3.0, wait=0)
    assert (client.timeout, client.retries) == (0.5, 3)
    with pytest.raises(InvalidRequest, match="seconds is 0, but must be a number of seconds above 0"):
        client.wait(0)
    with pytest.raises(InvalidRequest, match="patience is nan"):
        RewardFunction(run="r", patience=math.nan)


@pytest.mark.parametrize("seconds", [math.inf, 1e300, 2e6])
def test_without_a_limit_nothing_ends_a_try_and_a_service_that_comes_is_found(monkeypatch, seconds):
    monkeypatch.setattr("memr_client.tries.FIRST_PAUSE_S", 0.001)
    sent = []

    def handle(request):
        sent.append(request)
        return httpx.Response(200 if len(sent) > 3 else 503, json={})

    client = RewardClient("http://memr", timeout=seconds, retries=math.inf, transport=httpx.MockTransport(handle))
    assert client.wait(seconds).presets() == {}
    assert {request.extensions["timeout"]["read"] for request in sent} == {None}
    assert ("x-request-timeout-ms" in sent[-1].headers) == math.isfinite(seconds)


def test_retry_after_waits_a_day_at_most():
    for asked in ("9" * 400, "99999999999"):
        response = httpx.Response(503, headers={"retry-after": asked})
        assert Tries(math.inf, retries=3).pause_after(response) == 86_400
