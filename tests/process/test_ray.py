"""The app under a real Ray Serve: two replicas over one Redis, and two encoder replicas."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import yaml
from memr_client import RewardClient
from memr_client.errors import InvalidRequest, MemrError, Unavailable
from memr_service.app.ray import PIECE, RemoteEncoder, Scale, application
from memr_service.settings import Settings
from ray.exceptions import RayActorError, RayTaskError
from ray.serve.schema import ServeDeploySchema
from support.ray_cluster import ray_serving
from support.redis_server import fresh

EXAMPLE = Path(__file__).parents[2] / "examples/ray/serve.yaml"
CONFIG: dict[str, Any] = {"explore_warmup_steps": 0}


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with ray_serving(fresh()) as url:
        yield url


def texts(number: int, items: int = 4) -> dict[str, Any]:
    """Request `number`, always the same."""
    return {
        "prompts": [f"What is {number} and {number}?"] * items,
        "completions": [f"{number} and {number} make {number + item}, said {item}" for item in range(items)],
        "outcomes": [float(item % 2) for item in range(items)],
        "request_id": f"request {number}",
    }


def items_of_replicas(url: str) -> set[int]:
    """Completions scored by the replicas whose `/metrics` were seen."""
    asked = (httpx.get(f"{url}/metrics").text for _ in range(40))
    return {int(float(count)) for text in asked for count in re.findall(r"^memr_items_total{.*} (.*)$", text, re.M)}


def a_replica_of_the_app() -> psutil.Process:
    below = psutil.Process().children(recursive=True)
    return next(one for one in below if "Rewards" in " ".join(one.as_dict(["cmdline"])["cmdline"] or []))


def test_two_replicas_and_their_encoders_equal_one_service_and_a_killed_one_loses_nothing(url):
    numbers, whole = range(24), texts(1000, items=2 * PIECE + 1)
    with RewardClient(url, run="run") as client, RewardClient.embedded(run="run", encoder="hashed") as alone:
        for service in (client, alone):
            service.create_run(**CONFIG)
        asked = [texts(number) for number in numbers] + [whole]
        answers = [client.reward(**one) for one in asked]
        expected = [alone.reward(**one) for one in asked]
        assert [answer.rewards for answer in answers] == [answer.rewards for answer in expected]
        assert [answer.chain for answer in answers] == [answer.chain for answer in expected]
        assert max(items_of_replicas(url)) < sum(len(one["outcomes"]) for one in asked), "one replica did it all"

        a_replica_of_the_app().kill()
        again = [client.reward(**one) for one in asked]
        assert [answer.rewards for answer in again] == [answer.rewards for answer in answers]
        assert client.reward(**texts(2000)).chain == alone.reward(**texts(2000)).chain
        assert client.run(digest=True).digest == alone.run(digest=True).digest


class Broken:
    """A handle whose every call fails."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def __getattr__(self, name: str) -> Any:
        return self

    def remote(self, *given: Any) -> Any:
        return self

    def result(self) -> Any:
        raise self.error


@pytest.mark.parametrize(
    ("raised", "told"),
    [
        (RayTaskError("shape", "a trace", InvalidRequest("not offered", value="bfloat16")), InvalidRequest),
        (RayActorError(), Unavailable),
    ],
)
def test_what_happens_to_a_replica_of_the_encoder_reaches_the_caller_as_a_problem(raised, told):
    with pytest.raises(told) as met:
        RemoteEncoder("hashed", Broken(raised))
    assert met.value.status in (422, 503)
    assert "a trace" not in str(met.value)


def test_a_store_of_one_machine_is_refused(monkeypatch):
    monkeypatch.setenv("MEMR_INSECURE", "true")
    monkeypatch.setenv("MEMR_STORE", "sqlite:///here")
    with pytest.raises(MemrError, match=r"(?s)MEMR_STORE.*redis://"):
        application(Scale())


def test_a_cluster_without_keys_is_refused(monkeypatch):
    monkeypatch.setenv("MEMR_STORE", "redis://127.0.0.1:1/0")
    with pytest.raises(MemrError, match="MEMR_KEYS_FILE"):
        application(Scale())


def test_serve_and_memr_read_the_example():
    example = ServeDeploySchema.model_validate(yaml.safe_load(EXAMPLE.read_text()))
    (memr,) = example.applications
    assert memr.import_path == "memr_service.app.ray:application"
    assert Scale.model_validate(memr.args).max_encoders > 1
    given = {name.removeprefix("MEMR_").lower(): value for name, value in memr.runtime_env["env_vars"].items()}
    assert Settings(**given).store.startswith("redis://")
