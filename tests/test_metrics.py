"""Metrics: what they count, and that runs are named only where asked for."""

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
    """The value of a series, as /metrics shows it."""
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
