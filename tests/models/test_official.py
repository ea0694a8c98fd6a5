"""The official presets over HTTP against what the authors' released code answered (data/README.md)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgpack
import numpy as np
import pytest
from memr_service.app import create_app
from memr_service.settings import Settings
from starlette.testclient import TestClient
from support.minilm import embed
from support.paper_official import OfficialOracle
from support.real_data import Trace, official_trace, solutions

TOLERANCE = 1e-4


def config_of(trace: Trace) -> dict[str, Any]:
    return {
        "k": trace["k"],
        "max_completions": trace["max_values"],
        "window": trace["window"],
        "explore_warmup_prompts": trace["explore_phase_queries"],
    }


def batches(trace: Trace) -> Iterator[tuple[dict[str, Any], dict[str, list[float]]]]:
    """Each call of the released code as a request, with its answers."""
    for batch in trace["batches"]:
        question = solutions()[batch["question"]]
        chosen = [question["solutions"][place] for place in batch["solutions"]]
        request = {
            "prompts": [question["question"]] * len(chosen),
            "completions": [solution["solution"] for solution in chosen],
            "outcomes": [float(solution["is_correct"]) for solution in chosen],
        }
        yield request, {"exploit": batch["exploit"], "explore": batch["explore"]}


def encode_all(trace: Trace) -> None:
    """Encode every text of a trace in large batches, before they are asked for in small ones."""
    embed([text for request, _ in batches(trace) for text in request["prompts"] + request["completions"]])


def with_embeddings(request: dict[str, Any]) -> dict[str, Any]:
    rows = {name: embed(request[name]).astype("<f4").tobytes() for name in ("prompts", "completions")}
    return {**request, "embeddings": rows}


def largest(scaled: dict[str, list[float]], expected: dict[str, list[float]]) -> dict[str, float]:
    return {name: float(np.abs(np.subtract(scaled[name], expected[name])).max()) for name in scaled}


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    with TestClient(create_app(Settings(store="memory:", preload=False))) as client:
        yield client


@pytest.mark.parametrize(
    ("preset", "k", "encoded_by"),
    [
        ("official-memory-r+", 1, "the caller"),
        ("official-memory-r", 1, "the caller"),
        ("official-memory-r+", 5, "the service"),
    ],
)
def test_the_official_presets_answer_what_the_released_code_answered(
    client: TestClient, capsys: pytest.CaptureFixture[str], preset: str, k: int, encoded_by: str
) -> None:
    trace = official_trace(k)
    run_id = f"{preset.removesuffix('+')}-k{k}-{len(preset)}"
    assert client.put(f"/runs/{run_id}", json={"preset": preset, **config_of(trace)}).status_code == 201
    if encoded_by == "the caller":
        encode_all(trace)
    differences: list[dict[str, float]] = []
    for request, expected in batches(trace):
        if encoded_by == "the caller":
            packed = msgpack.packb({"run_id": run_id, **with_embeddings(request)})
            response = client.post("/reward", content=packed, headers={"Content-Type": "application/msgpack"})
        else:
            response = client.post("/reward", json={"run_id": run_id, **request})
        answer = response.json()
        scaled = {name: values["scaled"] for name, values in answer["components"].items()}
        differences.append(largest(scaled, expected))
        assert answer["rewards"] == pytest.approx(np.sum(list(scaled.values()), axis=0))
    worst = {name: max(difference[name] for difference in differences) for name in differences[0]}
    with capsys.disabled():
        print(f"\n{preset}, k = {k}, encoded by {encoded_by}, {len(differences)} calls: largest difference {worst}")
    assert worst.keys() == ({"exploit"} if preset == "official-memory-r" else {"exploit", "explore"})
    assert max(worst.values()) <= TOLERANCE


def test_the_oracle_answers_what_the_released_code_answered() -> None:
    trace = official_trace(1)
    encode_all(trace)
    oracle = OfficialOracle(config_of(trace))
    for request, expected in batches(trace):
        rows = {name: list(embed(request[name])) for name in ("prompts", "completions")}
        answer = oracle.reward(rows["prompts"], rows["completions"], request["prompts"], request["outcomes"])
        assert max(largest(answer.scaled, expected).values()) <= TOLERANCE
