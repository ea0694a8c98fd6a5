"""The service inside the caller's process: the same app, without side effects on the process."""

import asyncio
import contextlib
import copy
import gc
import os
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from memr_client import (
    AsyncRewardClient,
    InternalError,
    InvalidRequest,
    MemrError,
    RewardClient,
    ServiceUnreachable,
    embedded,
)
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

BATCH = (["2+2?"] * 4, ["4", "5", "four", "22"], [1.0, 0.0, 1.0, 0.0])


@pytest.fixture
def client():
    with RewardClient.embedded(run="r", encoder="hashed") as client:
        yield client


@pytest.fixture
def stand_in(monkeypatch):
    """Replaces the service by a small app: `stand_in(endpoint)` serves every request with this endpoint."""

    def put(endpoint, lifespan=None):
        app = Starlette(routes=[Route("/{path:path}", endpoint, methods=["GET", "POST"])], lifespan=lifespan)
        monkeypatch.setattr(embedded, "_app", lambda store, settings: app)

    return put


def threads():
    """The threads of services in this process; other test modules may have some of their own."""
    return {thread for thread in threading.enumerate() if thread.name.startswith("memr")}


def test_four_lines_give_rewards(client):
    first = client.reward(*BATCH, step=1)
    second = client.reward(*BATCH, step=2)
    assert (first.position, second.position) == (1, 2)
    assert len(second.rewards) == 4
    assert client.run().memory.success.completions == 4


@pytest.mark.parametrize("embedded", [False, True], ids=["texts", "embeddings"])
def test_half_a_surrogate_pair_is_read_as_a_replacement_character_and_named(client, embedded):
    rows = np.eye(4, dtype=np.float32)
    columns = {"embeddings": {"prompts": rows, "completions": rows}} if embedded else {}
    prompts, (first, *others), outcomes = BATCH
    answer = client.reward(prompts, [f"{first} \ud83d", *others], outcomes, prompt_ids=["\ude00", *"bcd"], **columns)
    assert "completions[0], prompt_ids[0]:" in answer.warnings[0]
    assert client.completions(text="\ufffd").rows[0].completion == f"{first} \ufffd"
    sent = {"embeddings": {"prompts": rows[:1], "completions": rows[:1]}} if embedded else {}
    explained = client.explain(prompt="q", completion="\ud83d", **sent)
    assert "completion:" in explained.warnings[0]


def test_the_same_request_id_is_counted_once(client):
    first = client.reward(*BATCH, request_id="once")
    assert client.reward(*BATCH, request_id="once") == first
    assert client.run().position == 1


@pytest.mark.parametrize("name", ["preset", "default_preset"])
def test_the_preset_of_new_runs_is_an_argument(name):
    with RewardClient.embedded(run="r", encoder="hashed", **{name: "memory-r"}) as client:
        client.reward(*BATCH)
        assert client.run().config.preset == "memory-r"
        assert client.create_run("other", preset="random").config.preset == "random"


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"k": 5}, r"no setting 'k'.*create_run\(run, k=...\)"),
        ({"encodr": "hashed"}, "Did you mean 'encoder'"),
        ({"preset": "memory_r+"}, r"^preset is 'memory_r\+', .*Did you mean 'memory-r\+'"),
        ({"max_items": "many"}, "max_items is a text, but must be a whole number.*MEMR_"),
        ({"run": "my run"}, "'my run' is not the name of a run"),
    ],
)
def test_a_setting_that_does_not_fit_is_refused_in_words(settings, says):
    others = threads()
    with pytest.raises(InvalidRequest, match=f"(?s){says}") as caught:
        RewardClient.embedded(**settings)
    assert "errors.pydantic.dev" not in str(caught.value)
    assert threads() <= others


def test_an_embedded_service_has_no_keys_and_reads_none(monkeypatch):
    monkeypatch.setenv("MEMR_API_KEY", "not a header\n")
    with RewardClient.embedded(run="r", encoder="hashed") as client:
        assert len(client.reward(*BATCH).rewards) == 4


def test_it_works_inside_a_running_event_loop(client):
    async def cell_of_a_notebook():
        return client.reward(*BATCH).position

    assert asyncio.run(cell_of_a_notebook()) == 1


def test_many_threads_may_use_one_client(client):
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: client.reward(*BATCH), range(40)))
    assert sorted(answer.position for answer in answers) == list(range(1, 41))


def test_one_async_client_serves_several_loops_and_tasks():
    others = threads()
    client = AsyncRewardClient.embedded(run="r", encoder="hashed")

    async def some():
        return [response.position for response in await asyncio.gather(*(client.reward(*BATCH) for _ in range(5)))]

    assert sorted(asyncio.run(some()) + asyncio.run(some())) == list(range(1, 11))
    asyncio.run(client.close())
    assert threads() <= others


def test_a_kept_store_is_there_again_and_belongs_to_one_client_at_a_time(tmp_path):
    store = f"sqlite:///{tmp_path}/data"
    with RewardClient.embedded(store, run="r", encoder="hashed") as client:
        chain = client.reward(*BATCH).chain
        with pytest.raises(MemrError, match="data"):
            RewardClient.embedded(store, encoder="hashed")
    with RewardClient.embedded(store, run="r", encoder="hashed") as client:
        assert client.run().chain == chain


def test_a_run_travels_as_a_file(client, tmp_path):
    client.reward(*BATCH)
    digest = client.run(digest=True).digest
    client.export_run("r", tmp_path / "r.memr")
    assert client.import_run("copy", tmp_path / "r.memr").position == 1
    assert client.run("copy", digest=True).digest == digest
    client.delete_run("r")
    assert [run.run_id for run in client.runs()] == ["copy"]


def test_a_run_travels_as_a_file_asynchronously(tmp_path):
    async def travel():
        async with AsyncRewardClient.embedded(run="r", encoder="hashed") as client:
            await client.reward(*BATCH)
            await client.export_run("r", tmp_path / "r.memr")
            return (await client.import_run("copy", tmp_path / "r.memr")).position

    assert asyncio.run(travel()) == 1


def test_the_keys_file_of_a_server_on_the_same_machine_is_ignored(monkeypatch, tmp_path):
    monkeypatch.setenv("MEMR_KEYS_FILE", str(tmp_path / "keys.json"))
    with RewardClient.embedded(encoder="hashed") as client:
        assert client.ready()


def test_a_setting_that_does_not_exist_is_refused_by_name():
    with pytest.raises(ValueError, match="encodr"):
        RewardClient.embedded(encodr="hashed")


@pytest.mark.parametrize("copied", [pickle.dumps, copy.deepcopy])
def test_an_embedded_client_is_not_copied_to_another_process(client, copied):
    with pytest.raises(TypeError, match="memr serve"):
        copied(client)


def test_closing_ends_every_thread_and_a_closed_client_says_so():
    others = threads()
    client = RewardClient.embedded(encoder="hashed")
    client.runs()
    own = threads() - others
    assert own
    client.close()
    client.close()
    assert not own & threads()
    with pytest.raises(RuntimeError, match="closed"):
        client.runs()


def test_a_garbage_collected_client_stops_its_service():
    others = threads()
    client = RewardClient.embedded(encoder="hashed")
    client.runs()
    (thread,) = [thread for thread in threads() - others if thread.name == "memr-embedded"]
    del client
    gc.collect()
    thread.join(10)
    assert not thread.is_alive()


def test_a_request_is_not_waited_for_longer_than_it_may_take(stand_in):
    cancelled = threading.Event()

    async def never(request):
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    stand_in(never)
    with RewardClient.embedded() as client:
        client.timeout = 0.1
        with pytest.raises(ServiceUnreachable, match="ReadTimeout"):
            client.runs()
        assert cancelled.wait(5)
        cancelled.clear()
    asynchronous = AsyncRewardClient.embedded()
    asynchronous.timeout = 0.1
    with pytest.raises(ServiceUnreachable, match="ReadTimeout"):
        asyncio.run(asynchronous.runs())
    assert cancelled.wait(5)
    asyncio.run(asynchronous.close())


def test_closing_ends_requests_that_others_wait_for(stand_in):
    inside = threading.Event()

    async def never(request):
        inside.set()
        await asyncio.Event().wait()

    stand_in(never)
    client = RewardClient.embedded()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(client.runs)
        assert inside.wait(5)
        client.close()
        with pytest.raises(RuntimeError, match="closed"):
            waiting.result(10)


def test_a_cancelled_task_stops_the_work(stand_in):
    inside, cancelled = threading.Event(), threading.Event()

    async def never(request):
        inside.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    async def cancel():
        async with AsyncRewardClient.embedded() as client:
            task = asyncio.create_task(client.runs())
            await asyncio.to_thread(inside.wait, 5)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            return await asyncio.to_thread(cancelled.wait, 5)

    stand_in(never)
    assert asyncio.run(cancel())


def test_a_start_that_fails_is_raised_where_the_client_is_made(stand_in):
    @contextlib.asynccontextmanager
    async def failing(app):
        raise MemrError("no room")
        yield

    stand_in(lambda request: JSONResponse({}), failing)
    with pytest.raises(MemrError, match="no room"):
        RewardClient.embedded()


def test_an_end_that_fails_is_raised_where_the_client_is_closed(stand_in):
    @contextlib.asynccontextmanager
    async def failing(app):
        yield
        raise MemrError("no room")

    stand_in(lambda request: JSONResponse({}), failing)
    client = RewardClient.embedded()
    with pytest.raises(MemrError, match="no room"):
        client.close()
    transport = client._transport
    embedded._stop_at_exit(os.getpid(), transport._request_stop, transport._ended)  # does not raise it again


def test_a_defect_of_the_service_is_an_error_and_not_the_end(client, monkeypatch):
    from memr_service.engine.run_api import RunApi

    async def broken(self):
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr(RunApi, "describe_all", broken)
        with pytest.raises(InternalError):
            client.runs()
    assert client.runs() == []
