"""Metrics: what they count, and that they name runs only with the setting `run_label`."""

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
from memr_service.app import create_app
from memr_service.settings import Settings
from starlette.testclient import TestClient


@pytest.fixture
def client(request):
    settings = Settings(store="memory:", encoder="hashed", preload=False, **getattr(request, "param", {}))
    with TestClient(create_app(settings)) as client:
        yield client


def sample(client, name):
    """The value of a series in /metrics."""
    for line in client.get("/metrics").text.splitlines():
        if line.startswith(name + " "):
            return float(line.rpartition(" ")[2])
    raise AssertionError(f"no series {name}")


def send(client, run_id="run", n=2, **more):
    texts = [f"{run_id} {i}" for i in range(n)]
    sent = {"run_id": run_id, "prompts": texts, "completions": texts, "outcomes": [1.0] * n, **more}
    return client.post("/reward", json=sent)


def test_requests_are_counted_by_route_and_status(client):
    client.get("/runs/a")
    client.get("/runs/b")
    client.get("/no/such/route/1")
    client.get("/no/such/route/2")
    assert sample(client, 'memr_requests_total{route="/runs/{run_id}",status="404"}') == 2
    assert sample(client, 'memr_requests_total{route="unknown",status="404"}') == 2
    assert sample(client, 'memr_request_seconds_count{route="/runs/{run_id}"}') == 2


def test_items_replays_and_memories_are_counted(client):
    send(client, "a", 3)
    send(client, "b", 2, request_id="r")
    send(client, "b", 2, request_id="r")
    send(client, "a", 5, mode="eval")
    assert sample(client, 'memr_items_total{mode="train"}') == 5
    assert sample(client, 'memr_items_total{mode="eval"}') == 5
    assert sample(client, "memr_idempotent_replays_total") == 1
    assert sample(client, 'memr_memory_completions{memory="success"}') == 5
    assert sample(client, 'memr_memory_completions{memory="failure"}') == 0


def test_each_phase_of_a_reward_has_its_histogram(client):
    send(client, n=3)
    send(client, n=1, mode="eval")
    send(client, n=1, embeddings={"prompts": [[1.0] * 384], "completions": [[1.0] * 384]})
    assert sample(client, "memr_batch_texts_count") == sample(client, "memr_encode_seconds_count") == 2
    assert sample(client, "memr_batch_texts_sum") == 4
    assert sample(client, "memr_score_seconds_count") == 3
    assert sample(client, "memr_commit_seconds_count") == 2


def test_the_queue_and_the_store_are_measured_when_asked(client):
    assert sample(client, "memr_queue_texts") == 0
    before = sample(client, "memr_store_bytes")
    send(client, n=500)
    assert sample(client, "memr_store_bytes") > before


def test_runs_are_not_named_by_default(client):
    send(client, "private-name")
    assert "private-name" not in client.get("/metrics").text


@pytest.mark.parametrize("client", [{"run_label": True}], indirect=True)
def test_runs_are_named_where_asked_for(client):
    send(client, "a", 3)
    send(client, "b", 2)
    assert sample(client, 'memr_memory_completions{memory="success",run="a"}') == 3
    assert sample(client, 'memr_items_total{mode="train",run="b"}') == 2


def test_two_apps_in_one_process_count_apart(client):
    client.get("/livez")
    with TestClient(create_app(Settings(store="memory:", encoder="hashed", preload=False))) as other:
        assert 'route="/livez"' not in other.get("/metrics").text


def part(client, step, number):
    return send(client, n=2, step=step, part=number, parts=2)


@pytest.mark.slow
def test_barriers_count_waiting_requests_timeouts_and_late_requests(client):
    client.put("/runs/run", json={"barrier": "step", "barrier_timeout_s": 0.5})
    with ThreadPoolExecutor(1) as waiting:
        first = waiting.submit(part, client, 0, 0)
        while sample(client, "memr_barrier_waiting") == 0 and not first.done():
            pass
        assert not first.done()
        assert sample(client, "memr_barrier_timeouts_total") == 0
        assert "1 of 2 parts" in first.result().json()["warnings"][0]
    part(client, 0, 1)
    told = [sample(client, f"memr_barrier_{name}") for name in ("waiting", "timeouts_total", "late_total")]
    assert told == [0, 1, 1]


def test_a_barriers_counts_survive_the_run(client):
    client.put("/runs/run", json={"barrier": "step", "barrier_timeout_s": 0.01})
    part(client, 0, 0)
    client.delete("/runs/run")
    assert sample(client, "memr_barrier_timeouts_total") == 1


def test_records_that_were_cut_are_counted(tmp_path):
    settings = Settings(store=f"sqlite:///{tmp_path}", encoder="hashed", preload=False)
    with TestClient(create_app(settings)) as client:
        for _ in range(3):
            send(client)
        assert sample(client, "memr_damaged_records_total") == 0
    with closing(sqlite3.connect(tmp_path / "memr.db")) as database, database:
        database.execute("UPDATE log SET payload = zeroblob(100) WHERE position = 2")
    with TestClient(create_app(settings)) as client:
        assert client.get("/runs/run").json()["position"] == 1
        assert sample(client, "memr_damaged_records_total") == 2
