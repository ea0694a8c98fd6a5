"""The client against a real server process: late starts, kills, forks, pickles, threads."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context

import httpx
import numpy as np
import pytest
from memr_client import AsyncRewardClient, RewardClient

BATCH = (["2+2?"] * 4, ["4", "5", "four", "22"], [1.0, 0.0, 1.0, 0.0])
WAIT_S = 60


class Server:
    """`memr serve` in a process of its own, on a port of its own, which can be killed and started again."""

    def __init__(self, folder):
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.command = [sys.executable, "-m", "memr_service", "serve", "--port", str(self.port)]
        self.command += ["--store", f"sqlite:///{folder}/data"]
        self.process = None

    def start(self):
        environment = {**os.environ, "MEMR_ENCODER": "hashed"}
        self.process = subprocess.Popen(self.command, env=environment, stderr=subprocess.DEVNULL)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("served"))
    server.start()
    try:
        RewardClient(server.url).wait(WAIT_S).close()
        yield server
    finally:
        server.stop()


@pytest.fixture
def client(server, request):
    with RewardClient(server.url, run=request.node.name[:128].replace("[", "-").replace("]", "")) as client:
        yield client


class Breaks(httpx.BaseTransport):
    """Carries requests over real sockets; once, before or after the service has answered, `breaking` is called."""

    def __init__(self, breaking, answered):
        self.breaking = breaking
        self.answered = answered
        self.broken = False
        self.real = httpx.HTTPTransport()

    def handle_request(self, request):
        if self.broken or request.url.path != "/reward":
            return self.real.handle_request(request)
        self.broken = True
        if self.answered:
            self.real.handle_request(request).read()
        self.breaking()
        raise httpx.ReadError("the connection broke", request=request)

    def close(self):
        self.real.close()


@pytest.mark.parametrize("answered", [False, True], ids=["before the commit", "after the commit"])
def test_a_batch_is_counted_once_though_the_server_is_killed_around_its_commit(tmp_path, answered):
    server = Server(tmp_path)

    def kill_and_restart():
        server.kill()
        server.start()

    server.start()  # and while it starts, the client waits
    transport = Breaks(kill_and_restart, answered)
    try:
        with RewardClient(server.url, run="r", wait=WAIT_S, retries=20, transport=transport) as client:
            assert client.reward(*BATCH, step=1).position == 1
            assert transport.broken
            assert client.reward(*BATCH, step=2).position == 2
            chain = client.run().chain
    finally:
        assert server.stop() == 0
    with RewardClient.embedded("memory:", run="r", encoder="hashed") as client:  # what it would be without the kill
        client.reward(*BATCH, step=1)
        client.reward(*BATCH, step=2)
        assert client.run().chain == chain


def test_the_served_and_the_embedded_service_give_the_same_rewards(client):
    generator = np.random.default_rng(0)
    with RewardClient.embedded(run="r", encoder="hashed") as embedded:
        for step in range(5):
            embeddings = {name: generator.standard_normal((4, 8), np.float32) for name in ("prompts", "completions")}
            for batch in ({}, {"embeddings": embeddings, "run_id": f"{client.run_id}-sent"}):
                one, other = client.reward(*BATCH, step=step, **batch), embedded.reward(*BATCH, step=step, **batch)
                assert (one.rewards, one.chain) == (other.rewards, other.chain)


def test_json_and_messagepack_carry_the_same_embeddings(client):
    matrix = np.random.default_rng(0).standard_normal((4, 8), np.float32)
    for run, rows in (("array", matrix), ("lists", matrix.tolist())):
        answer = client.reward(
            *BATCH, run_id=f"{client.run_id}-{run}", embeddings={"prompts": rows, "completions": rows}
        )
        assert answer.memory.success.completions == 2
    chains = {client.run(f"{client.run_id}-{run}").chain for run in ("array", "lists")}
    assert len(chains) == 1


def test_every_call_has_its_route(client, tmp_path):
    created = client.create_run(k=3)
    assert (created.config.k, created.position) == (3, 0)
    assert client.create_run(k=3) == created
    client.reward(*BATCH)
    client.export_run(client.run_id, tmp_path / "run.memr")
    assert client.import_run("imported", tmp_path / "run.memr").position == 1
    assert {"imported", client.run_id} <= {run.run_id for run in client.runs()}
    client.delete_run("imported")
    assert "imported" not in {run.run_id for run in client.runs()}
    assert client.run(digest=True).digest
    assert client.presets()["memory-r+"].k == 1
    assert client.version().law >= 1
    assert client.ready()


def test_threads_may_share_a_client(client):
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda step: client.reward(*BATCH, step=step), range(40)))
    assert sorted(answer.position for answer in answers) == list(range(1, 41))


def test_tasks_and_event_loops_may_share_an_async_client(server):
    client = AsyncRewardClient(server.url, run="loops")

    async def some():
        return [answer.position for answer in await asyncio.gather(*(client.reward(*BATCH) for _ in range(5)))]

    positions = [position for _ in range(3) for position in asyncio.run(some())]
    assert sorted(positions) == list(range(1, 16))


def positions(client, n):
    return [client.reward(*BATCH).position for _ in range(n)]


def test_a_client_may_be_sent_to_other_processes(client):
    client.reward(*BATCH)
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        sent = [pool.submit(positions, client, 10) for _ in range(2)]
        seen = positions(client, 10) + [position for one in sent for position in one.result(60)]
    assert sorted(seen) == list(range(2, 32))


def report(client, n, results):
    results.put(positions(client, n))


def test_forked_children_mix_no_answers_with_their_parent(client):
    client.reward(*BATCH)  # its connection stays open, and every child inherits it
    context = get_context("fork")
    results = context.SimpleQueue()
    children = [context.Process(target=report, args=(client, 10, results)) for _ in range(2)]
    for child in children:
        child.start()
    seen = positions(client, 10) + results.get() + results.get()
    for child in children:
        child.join()
    assert sorted(seen) == list(range(2, 32))
