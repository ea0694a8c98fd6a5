"""Both clients against a scripted service: retries, errors, and copies in other processes."""

import asyncio
import copy
import inspect
import json
import pickle
import re
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


@pytest.mark.parametrize("given", ["", "  ", "\n"])
def test_an_empty_key_is_none(scripted, monkeypatch, given):
    monkeypatch.setenv("MEMR_API_KEY", given)
    client = scripted(answer(200, json=ACCEPTED))
    client.reward(*BATCH)
    assert "authorization" not in client.requests[0].headers


def test_a_key_is_stripped_and_never_shown_in_what_refuses_it(scripted, monkeypatch):
    monkeypatch.setenv("MEMR_API_KEY", "memr_secret\n")
    client = scripted(answer(200, json=ACCEPTED))
    client.reward(*BATCH)
    assert client.requests[0].headers["authorization"] == "Bearer memr_secret"
    for wrong in ("memr_secret\nx", "memr_secr\u00e9t", "memr secret"):
        monkeypatch.setenv("MEMR_API_KEY", wrong)
        with pytest.raises(memr_client.InvalidRequest, match=r"MEMR_API_KEY.*position \d") as caught:
            RewardClient()
        assert "secr" not in str(caught.value.document())


@pytest.mark.parametrize("run", ["my/run", "my run", "", "-x", "x" * 129, "l\u00e4uft", 1.5])
def test_a_name_that_the_service_would_refuse_is_refused_by_the_constructor(client_class, run):
    with pytest.raises(memr_client.InvalidRequest, match="is not the name of a run: a name is a letter or digit"):
        client_class(run=run)
    with pytest.raises(memr_client.InvalidRequest, match="is not the name of a run"):
        client_class().run(run or " ")


@pytest.mark.parametrize(
    ("argument", "says"),
    [
        ("preset", r"create_run\(run, preset=...\).*embedded"),
        ("default_preset", "preset="),
        ("config", "create_run"),
        ("k", r"create_run\(run, k=...\)"),
        ("apikey", "'api_key'"),
        ("time_out", "'timeout'"),
    ],
)
def test_an_argument_that_belongs_elsewhere_or_is_misspelt_names_the_right_one(client_class, argument, says):
    with pytest.raises(memr_client.InvalidRequest, match=says):
        client_class("http://memr", **{argument: 1})


def test_a_preset_has_one_name():
    made = [
        memr_client.calls.create_run("r", None, preset="memory-r", k=3).content,
        memr_client.calls.create_run("r", memr_client.RunConfig(preset="memory-r"), k=3).content,
        memr_client.calls.create_run("r", {"preset": "memory-r", "k": 3.0}).content,
    ]
    assert [json.loads(content) for content in made] == [{"preset": "memory-r", "k": 3}] * 3
    with pytest.raises(memr_client.InvalidRequest, match="preset="):
        memr_client.calls.create_run("r", None, default_preset="memory-r")


def test_the_first_failure_of_a_call_is_logged_with_what_is_tried_and_for_how_long(scripted, caplog):
    client = scripted(httpx.ConnectError("refused"), answer(503), answer(200, json=ACCEPTED), timeout=60)
    client.reward(*BATCH)
    client.requests.clear()
    client.reward(*BATCH)  # fails in the same way, at once
    (record,) = caplog.records
    assert record.name == "memr_client"
    assert record.levelname == "WARNING"
    text = record.getMessage()
    assert "POST http://memr/reward failed (ConnectError: refused)" in text
    assert "for up to 60 s (try 2 of at most 9)" in text
    assert "memr serve" in text


def test_what_fails_behind_a_proxy_names_the_proxy(monkeypatch, client_class):
    monkeypatch.setenv("HTTP_PROXY", "http://me:secret@proxy:3128")
    outcome = [httpx.ConnectError("refused")]

    def handle(transport, request):
        if isinstance(outcome[0], Exception):
            raise outcome[0]
        return outcome[0]

    async def handle_async(transport, request):
        return handle(transport, request)

    monkeypatch.setattr(httpx.HTTPTransport, "handle_request", handle)
    monkeypatch.setattr(httpx.AsyncHTTPTransport, "handle_async_request", handle_async)
    client, proxy = client_class("http://memr", run="r", retries=0), r"http://me:\*\*\*@proxy:3128 \(HTTP_PROXY\)"
    with pytest.raises(ServiceUnreachable, match=f"{proxy}.*NO_PROXY") as unreachable:
        client.reward(*BATCH)
    outcome[0] = httpx.Response(407, html="<html>Proxy authentication required</html>")
    with pytest.raises(BadResponse, match=f"407.*{proxy}") as page:
        client.reward(*BATCH)
    assert "secret" not in f"{unreachable.value} {page.value}"


def paid(rewards, successes=0, warmup=50, rejected=(), position=1):
    n = len(rewards)
    return answer(
        200,
        json={
            **ACCEPTED,
            "position": position,
            "rewards": rewards,
            "components": {"exploit": {"raw": [None] * n, "scaled": [0.0] * n}},
            "support": {"success": [0] * n, "failure": [0] * n},
            "guards": {"rejected": [list(rejected)] * n},
            "warmup": {"explore": warmup},
            "why_zero": [f"explore, {n} of {n}: warming up, {warmup} to go"] if warmup else list(rejected),
            "memory": {
                "success": {"prompts": min(1, successes), "completions": successes},
                "failure": {"prompts": 1, "completions": n},
            },
        },
    )


RUN = {
    "run_id": "r", "config": {}, "branch": 0, "position": 3, "chain": "00", "step": None, "memory": ACCEPTED["memory"],
    "windows": {}, "created_at": "", "encoder": None, "dimension": None,
}  # fmt: skip


@pytest.mark.parametrize(
    ("response", "outcomes", "says"),
    [
        (
            paid([0.0] * 4),
            [0] * 4,
            r"20 completions are 0.*largest outcome is 0, .*threshold=0.5.*warming up, 50",
        ),
        (paid([0.0] * 4), [0.1, 0.4, 0, 0.2], r"largest outcome is 0.4, .*success_threshold=0.5.*lower success_thre"),
        (paid([0.1] * 4, warmup=0), [0.1, 0.4, 0, 0.2], r"largest outcome is 0.4, .*lower success_threshold"),
        (paid([0.0] * 4, 2, 0, ["exploit:topic_floor"]), [1, 0, 0, 1], r"20 completions are 0.*exploit:topic_floor"),
    ],
    ids=["no success", "shaped", "shaped and paid", "rejected"],
)
def test_rewards_that_say_nothing_give_one_warning_after_the_first_steps(scripted, response, outcomes, says):
    client = scripted(*[response] * 5, answer(200, json=RUN), response)
    batch = (["q"] * 4, list("abcd"), outcomes)
    for step in (0, 0, 0, 1):  # the members of a step count together
        client.reward(*batch, step=step)
    with pytest.warns(UserWarning, match=says):
        client.reward(*batch, step=2)
    client.reward(*batch, step=3)


def test_most_of_a_request_at_0_for_one_cause_gives_one_warning_for_that_cause(scripted):
    dull, copied = (
        "exploit, 2 of 4: too dull",
        "exploit, 3 of 4: rejected as copied by the guard max_copied=0.7; not here",
    )
    few = paid([0.0, 0.1, 0.0, 0.1], 1, 0, [dull])
    most = paid([0.1, 0.0, 0.0, 0.0], 1, 0, [copied, "explore, 3 of 4: warming up, 9 to go"], position=9)
    client = scripted(*[paid([0.1] * 4, 1, 0)] * 3, few, most, most)
    batch = (["q"] * 4, list("abcd"), [1, 0, 0, 0])
    for step in range(4):
        client.reward(*batch, step=step)
    says = (
        "memr: run 'r': 3 of 4 rewards of a request are 0. exploit: rejected as copied by the guard max_copied=0.7. "
        "client.explain('r', position=9, item=1) accounts for one of them. Each cause is told once."
    )
    with pytest.warns(UserWarning, match=re.escape(says)):
        client.reward(*batch, step=4)
    client.reward(*batch, step=5)


def test_without_steps_each_record_counts(scripted):
    client = scripted(*[paid([0.0] * 4, position=position) for position in (1, 2, 3)], answer(200, json=RUN))
    batch = (["q"] * 4, list("abcd"), [0] * 4)
    client.reward(*batch)
    client.reward(*batch)
    with pytest.warns(UserWarning, match="12 completions are 0"):
        client.reward(*batch)


def test_rewards_that_say_something_give_no_warning(scripted):
    client = scripted(paid([0.0] * 4), paid([0.0] * 4), paid([0.0, 0.0, 0.3, 0.0], successes=1), paid([0.0] * 4))
    untold, evaluated = scripted(paid([0.0])), scripted(paid([0.0] * 4))
    for step in range(6):
        client.reward(["q"] * 4, list("abcd"), [0, 1, 0, 0], step=step)
        untold.reward(["q"], ["a"], [0], step=step)
        evaluated.reward(["q"] * 4, list("abcd"), [0] * 4, mode="eval", step=step)


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
