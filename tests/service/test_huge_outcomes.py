"""Outcomes that are finite but huge: whatever is asked of such a run is answered in readable JSON."""

from __future__ import annotations

import json
from typing import Any

import httpx
import numpy as np
import pytest
from memr_service.app import create_app
from memr_service.settings import Settings
from starlette.testclient import TestClient
from support.cases import slow_after

D = 8
CONFIGS: list[dict[str, Any]] = [
    {"preset": "memory-r+", "explore_warmup_steps": 0},
    {"preset": "guarded"},
    {"preset": "attempts"},
    {"components": {"value": 1.0, "partition": 2.0}},
    {"components": {"value": {"bounds": "p5-p95"}}, "scaling": "request", "max_spread": 0.0},
    {"components": {"value": {"bounds": "rank"}, "partition": {"guards": {"cap": 3.0}}}, "center": "group"},
    {"components": {"partition": 1.0}, "max_spread": 0.5},
    {"components": {"partition": 1e308, "exploit": -1e308}},
    {"preset": "official-memory-r+", "explore_warmup_prompts": 0, "components": {"exploit": 1e308, "explore": 1e308}},
]


def batch(number: int) -> dict[str, Any]:
    rng = np.random.default_rng(number)
    outcomes = [1e308, -1e308, 1.7e308, 1e308, 0.0, 1.0, 1e308, 1e308]
    return {
        "run_id": "run",
        "prompts": ["q"] * 4 + ["r"] * 4,
        "completions": [f"completion {number} {item}" for item in range(8)],
        "outcomes": outcomes,
        "step": number,
        "embeddings": {
            "prompts": np.eye(D)[[0] * 4 + [1] * 4].tolist(),
            "completions": rng.normal(size=(8, D)).tolist(),
        },
    }


def numbers(value: Any) -> list[Any]:
    """Every number of a document; None too."""
    if isinstance(value, dict):
        return [one for inner in value.values() for one in numbers(inner)]
    if isinstance(value, list):
        return [one for inner in value for one in numbers(inner)]
    return [value]


def refuse(constant: str) -> float:
    raise ValueError(f"{constant} is no JSON")


def read(response: httpx.Response) -> Any:
    assert response.status_code in (200, 201), response.text
    return json.loads(response.text, parse_constant=refuse)


@pytest.fixture
def client() -> Any:
    with TestClient(create_app(Settings(store="memory:", encoder="hashed", preload=False))) as client:
        yield client


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("config", slow_after(1, CONFIGS), ids=str)
def test_huge_outcomes_are_scored_and_stay_readable(client: TestClient, config: dict[str, Any]) -> None:
    read(client.put("/runs/run", json=config))
    for number in range(4):
        answer = read(client.post("/reward", json=batch(number)))
        scaled = [component["scaled"] for component in answer["components"].values()]
        assert None not in numbers([answer["rewards"], scaled])
    for query in ("", "?points=2"):
        rows = read(client.get(f"/runs/run/history{query}"))["rows"]
        means = [row[field] for row in rows for field in ("outcome_mean", "reward_mean", "reward_std")]
        assert np.isfinite(means).all()
        assert rows[0]["outcome_mean"] > 1e37
    page = read(client.get("/runs/run/completions?sort=outcome"))
    assert {row["outcome"] for row in page["rows"]} == {1e308, -1e308, 1.7e308, 0.0, 1.0}
    for route in ("/runs/run/audits", "/runs/run/map", "/runs/run?digest=1", "/runs/run/provenance"):
        read(client.get(route))
    explained = read(client.post("/runs/run/explain", json={"position": 2, "item": 1}))
    assert explained["outcome"] == -1e308
    assert None not in numbers([explained["reward"], explained["held_to_spread"]])
    assert client.get("/metrics").status_code == 200


def test_openrlhf_is_told_finite_sums(client: TestClient) -> None:
    client.put("/runs/run", json={"components": {"random": 1.0}, "memory_weight": 1e308})
    sent = {"query": ["q a"] * 2, "prompts": ["q"] * 2, "labels": ["1"] * 2, "outcomes": [1.7e308, -1.7e308]}
    answer = read(client.post("/openrlhf/run", json=sent))
    assert np.isfinite(answer["rewards"]).all()
    assert answer["scores"] == sent["outcomes"]
