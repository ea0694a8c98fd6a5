"""Both clients against a scripted service: retries, errors, and copies in other processes."""

import asyncio
import copy
import inspect
import json
import pickle
import threading
from functools import partial

import httpx
import memr_client
import pytest
from memr_client import (
    AsyncRewardClient,
    BadResponse,
    RewardClient,
    ServiceUnreachable,
    Unauthorized,
    Unavailable,
    tries,
)
from memr_client.errors import Conflict, Overloaded

ACCEPTED = {
    "run_id": "r",
    "branch": 0,
    "position": 1,
    "chain": "00",
    "rewards": [0.5],
    "components": {"exploit": {"raw": [None], "scaled": [0.0]}},
    "support": {"success": [0], "failure": [0]},
    "guards": {"rejected": [[]]},
    "warmup": {"explore": 50},
    "warnings": [],
    "memory": {"success": {"prompts": 1, "completions": 1}, "failure": {"prompts": 0, "completions": 0}},
    "timing_ms": {"queue": 0, "encode": 0, "score": 0, "commit": 0, "total": 0},
}
BATCH = (["q"], ["a"], [1.0])


class Awaited:
    """An `AsyncRewardClient` that is called like a `RewardClient`; every call has its own event loop."""

    def __init__(self, *args, **options):
        self.client = AsyncRewardClient(*args, **options)

    def __getattr__(self, name):
        member = getattr(self.client, name)
        return (lambda *a, **k: asyncio.run(member(*a, **k))) if inspect.iscoroutinefunction(member) else member


@pytest.fixture(params=[RewardClient, Awaited], ids=["sync", "async"])
def client_class(request):
    return request.param


@pytest.fixture
def scripted(client_class, monkeypatch):
    """Makes a client of a service that gives listed responses, one per try; `client.requests` has the requests."""
    monkeypatch.setattr(tries, "FIRST_PAUSE_S", 0.001)

    def make(*answers, **options):
        requests = []

        def handle(request):
            requests.append(request)
            current = answers[min(len(requests), len(answers)) - 1]
            if isinstance(current, Exception):
                raise current
            return current()

        client = client_class("http://memr", run="r", transport=httpx.MockTransport(handle), **options)
        client.requests = requests
        return client

    return make


def answer(status, **content):
    return partial(httpx.Response, status, **content)


def problem(error):
    headers = {"content-type": "application/problem+json", "retry-after": "0"}
    return answer(error.status, json=error.document(), headers=headers)


@pytest.mark.parametrize(
    "failure",
    [
        httpx.ConnectError("refused"),
        httpx.ReadError("reset"),
        httpx.RemoteProtocolError("closed"),
        answer(429),
        answer(502, html="<html>bad gateway"),
        problem(Overloaded("full.")),
        problem(Unavailable("starting.")),
        answer(504),
    ],
    ids=["refused", "reset", "closed", "429", "502", "overloaded", "unavailable", "504"],
)
def test_a_transient_failure_is_retried_with_the_same_bytes_and_request_id(scripted, failure):
    client = scripted(failure, failure, answer(200, json=ACCEPTED))
    assert client.reward(*BATCH).rewards == [0.5]
    assert len({request.content for request in client.requests}) == 1
    assert len(client.requests) == 3
    assert json.loads(client.requests[0].content)["request_id"]


def test_two_calls_with_the_same_batch_are_two_batches(scripted):
    client = scripted(answer(200, json=ACCEPTED))
    client.reward(*BATCH)
    client.reward(*BATCH)
    first, second = (json.loads(request.content)["request_id"] for request in client.requests)
    assert first != second


def test_a_connection_that_stays_broken_is_an_error_with_advice(scripted):
    client = scripted(httpx.ConnectError("refused"), retries=2)
    with pytest.raises(ServiceUnreachable, match=r"http://memr/reward .* 3 tries .*refused.*memr serve.*'mine'"):
        client.reward(*BATCH, request_id="mine")
    assert len(client.requests) == 3


def test_a_service_that_stays_full_is_the_error_it_names(scripted):
    client = scripted(problem(Overloaded("full.")), retries=2)
    with pytest.raises(Overloaded, match="full"):
        client.reward(*BATCH)
    assert len(client.requests) == 3


def test_a_proxys_page_is_shown_when_the_tries_are_over(scripted):
    client = scripted(answer(502, html="<html>bad gateway</html>"), retries=1)
    with pytest.raises(BadResponse, match=r"502.*<html>bad gateway</html>"):
        client.reward(*BATCH)


@pytest.mark.parametrize("error", [Unauthorized("no key."), Conflict("another config.", fields=["k"])])
def test_permanent_errors_are_raised_at_once(scripted, error):
    client = scripted(problem(error))
    with pytest.raises(type(error)) as caught:
        client.create_run(k=3)
    assert caught.value.document() == error.document()
    assert len(client.requests) == 1


def test_the_time_for_a_call_is_bounded_and_told_to_the_service(scripted):
    client = scripted(answer(200, json=ACCEPTED), timeout=7.0)
    client.reward(*BATCH)
    request = client.requests[0]
    assert request.extensions["timeout"]["read"] == pytest.approx(7.0, abs=0.5)
    assert 6000 < int(request.headers["x-request-timeout-ms"]) <= 7000


def test_a_call_gives_up_when_its_time_is_over_whatever_the_tries_left(scripted):
    client = scripted(answer(503, headers={"retry-after": "5"}), timeout=2.0)
    with pytest.raises(BadResponse, match="503"):
        client.reward(*BATCH)
    assert len(client.requests) == 1


def test_the_key_is_sent_and_shown_nowhere(scripted, monkeypatch):
    monkeypatch.setenv("MEMR_API_KEY", "from-environment")
    for options, key in (({}, "from-environment"), ({"api_key": "given"}, "given")):
        client = scripted(answer(200, json=ACCEPTED), **options)
        client.reward(*BATCH)
        assert client.requests[0].headers["authorization"] == f"Bearer {key}"
        assert key not in repr(client)


def test_the_run_of_a_reward_is_sent_in_a_header_for_proxies_that_route_by_run(scripted):
    client = scripted(answer(200, json=ACCEPTED))
    client.reward(*BATCH, run_id="another")
    assert client.requests[0].headers["x-memr-run"] == "another"


def test_a_run_must_be_named_by_the_call_or_the_client(scripted):
    client = scripted(answer(200, json=ACCEPTED))
    client.reward(*BATCH)
    client.reward(*BATCH, run_id="other")
    assert [json.loads(request.content)["run_id"] for request in client.requests] == ["r", "other"]
    with pytest.raises(memr_client.InvalidRequest, match="run_id"):
        RewardClient().reward(*BATCH)


def test_waiting_ends_when_the_service_is_ready(scripted):
    client = scripted(httpx.ConnectError("refused"), problem(Unavailable("starting.")), answer(200, json={}))
    client.wait(10)
    assert [request.url.path for request in client.requests] == ["/readyz"] * 3


def test_a_wait_that_times_out_names_the_address_the_seconds_and_the_command(scripted):
    client = scripted(httpx.ConnectError("refused"))
    with pytest.raises(ServiceUnreachable, match=r"http://memr after .* of at most 0.05 s.*`memr serve`.*refused"):
        client.wait(0.05)


def test_a_client_with_a_wait_time_waits_before_its_first_call_only(scripted):
    client = scripted(problem(Unavailable("starting.")), answer(200, json={}), answer(200, json=ACCEPTED), wait=10)
    client.reward(*BATCH)
    client.reward(*BATCH)
    assert [request.url.path for request in client.requests] == ["/readyz", "/readyz", "/reward", "/reward"]


@pytest.mark.parametrize(("given", "ready"), [(answer(200, json={}), True), (answer(503), False)])
def test_ready_asks_once_and_does_not_raise(scripted, given, ready):
    client = scripted(given)
    assert client.ready() is ready
    assert len(client.requests) == 1


def test_a_broken_download_leaves_no_file(scripted, tmp_path):
    class Broken(httpx.SyncByteStream, httpx.AsyncByteStream):
        def __iter__(self):
            yield b"the beginning"
            raise httpx.ReadError("reset")

        async def __aiter__(self):
            for chunk in self.__iter__():
                yield chunk

    with pytest.raises(ServiceUnreachable, match="export"):
        scripted(answer(200, stream=Broken())).export_run("r", tmp_path / "r.memr")
    assert list(tmp_path.iterdir()) == []


def test_a_refused_download_is_the_error_it_names_and_leaves_an_older_file(scripted, tmp_path):
    file = tmp_path / "r.memr"
    file.write_bytes(b"older")
    with pytest.raises(memr_client.UnknownRun):
        scripted(problem(memr_client.UnknownRun("no such run."))).export_run("r", file)
    assert file.read_bytes() == b"older"


@pytest.mark.parametrize("url", ["127.0.0.1:8000", "memr", "ftp://memr"])
def test_an_address_without_a_scheme_is_refused_at_once(client_class, url):
    with pytest.raises(ValueError, match="http://"):
        client_class(url)


def test_both_clients_offer_the_same_calls_with_the_same_arguments():
    def calls(client):
        members = inspect.getmembers(client, inspect.isfunction)
        return {name: str(inspect.signature(member)) for name, member in members if not name.startswith("_")}

    assert calls(RewardClient) == calls(AsyncRewardClient)


def test_everything_exported_is_sorted_and_there():
    assert memr_client.__all__ == sorted(memr_client.__all__)
    errors = {name for name, member in vars(memr_client.errors).items() if isinstance(member, type)}
    assert errors - {"Any", "ClassVar"} <= set(memr_client.__all__)
    assert all(hasattr(memr_client, name) for name in memr_client.__all__)


def test_pickling_keeps_the_settings_and_drops_the_connections():
    client = RewardClient("http://memr", run="r", api_key="k", timeout=5, retries=2)
    client._pool()
    for twin in (pickle.loads(pickle.dumps(client)), copy.deepcopy(client)):
        assert twin._pools == {}
        assert {**vars(twin), "_pools": None} == {**vars(client), "_pools": None}
    client.close()


def test_threads_share_one_pool():
    client, barrier, pools = RewardClient("http://memr"), threading.Barrier(8), []

    def take():
        barrier.wait()
        pools.append(client._pool())

    threads = [threading.Thread(target=take) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(map(id, pools))) == 1
    client.close()


def test_connections_of_an_event_loop_end_with_it():
    client, pools = AsyncRewardClient("http://memr"), []

    async def take():
        pools.append(await client._pool())
        assert await client._pool() is pools[-1]
        return pools[-1].is_closed

    assert [asyncio.run(take()) for _ in range(3)] == [False] * 3
    assert [pool.is_closed for pool in pools] == [True] * 3
    assert len(client._pools) == 1  # only of the loop that ended last
