"""Memory quality at the service: a curated memory against the law in plain Python (`paper_quality`)."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from memr_client.errors import InvalidRequest
from support.batches import unit
from support.cases import slow_after
from support.histories import Request, World, ask_oracle, ask_service, largest_difference
from support.in_process import InProcess
from support.paper_quality import QualityOracle

RIGHT, WRONG = 1.0, 0.0
TOLERANCE = 1e-5


def drawn(rng: random.Random) -> dict[str, Any]:
    """A run's config with memory quality options by chance."""
    return {
        "k": rng.choice([1, 3, 20]),
        "max_prompts": rng.choice([1, 3, 9, 30]),
        "max_completions": rng.choice([1, 3, 9]),
        "order": rng.choice(["hold_one_out", "read_first"]),
        "storage": rng.choice(["float32", "float16"]),
        "explore_warmup_steps": rng.choice([0, 3]),
        "components": {
            "exploit": {"weight": 1.0, "centroids": rng.choice([1, 1, 2, 3, "all"])},
            rng.choice(["explore", "value"]): 1.0,
        },
        "memory": {
            "merge_similarity": rng.choice([None, 0.5, 0.9, 1.0]),
            "decay_steps": rng.choice([None, 0.5, 3, 40]),
            "max_age": rng.choice([None, 0, 2, 9]),
            "eviction": rng.choice(["fifo", "value"]),
            "gates": {
                "topic_floor": rng.choice([None, None, 0.4]),
                "drop_truncated": rng.random() < 0.3,
                "agreement": rng.random() < 0.3,
            },
        },
    }


def asked(world: World, rng: random.Random) -> Request:
    """A request of the world, with answers and truncated completions."""
    request = world.request()
    request.answers = [rng.choice([None, "18", "42"]) for _ in request.ids]
    request.truncated = [rng.random() < 0.3 for _ in request.ids]
    return request


@pytest.mark.parametrize("seed", [*range(2), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(2, 40))])
def test_the_service_does_what_the_law_says(seed: int) -> None:
    rng, world = random.Random(seed), World(seed)
    given = drawn(rng)
    oracle = QualityOracle(given)
    with InProcess("memory:") as service:
        service.create("run", **given)
        for _ in range(25):
            request = asked(world, rng)
            assert largest_difference(ask_service(service, "run", request), ask_oracle(oracle, request)) <= TOLERANCE


@pytest.mark.parametrize("seed", slow_after(1, range(8)))
def test_a_restart_in_the_middle_changes_no_bit(seed: int, tmp_path: Path) -> None:
    rng = random.Random(100 + seed)
    given, requests = drawn(rng), [asked(world, rng) for world in [World(seed)] for _ in range(20)]
    with InProcess("memory:") as calm:
        calm.create("run", **given)
        undisturbed = [ask_service(calm, "run", request) for request in requests]
        lived = calm.info("run")
    answers = []
    for start, snapshot_bytes in ((0, 2**16), (7, 2**26), (14, 2**16)):  # the first and last leave a snapshot behind
        with InProcess(f"sqlite:///{tmp_path}", snapshot_bytes=snapshot_bytes) as service:
            service.create("run", **given)
            answers += [ask_service(service, "run", request) for request in requests[start : start + 7]]
    with InProcess(f"sqlite:///{tmp_path}") as service:
        assert (service.info("run").chain, service.info("run").digest) == (lived.chain, lived.digest)
    for one in [*answers, *undisturbed]:
        one.pop("timing_ms")
    assert answers == undisturbed


@pytest.mark.parametrize(
    "given",
    [
        {"preset": "official-memory-r+", "memory": {"merge_similarity": 0.98}},
        {"preset": "official-memory-r", "memory": {"gates": {"min_chars": 1}}},
        {"preset": "official-memory-r", "components": {"exploit": {"centroids": 2}}},
        {"barrier": "snapshot", "group_size": 2, "memory": {"gates": {"agreement": True}}},
        {"barrier": "snapshot", "group_size": 2, "memory": {"decay_steps": 9.0}},
        {"barrier": "snapshot", "group_size": 2, "components": {"exploit": {"centroids": "all"}}},
    ],
)
def test_what_an_order_or_barrier_cannot_serve_is_refused(given: dict[str, Any]) -> None:
    with InProcess("memory:") as service, pytest.raises(InvalidRequest) as refused:
        service.create("run", **given)
    assert refused.value.remedy


def test_under_the_barrier_snapshot_duplicates_merge_and_the_old_leave() -> None:
    quality = {"merge_similarity": 0.999, "max_age": 3, "eviction": "value"}
    with InProcess("memory:") as service:
        service.create("run", barrier="snapshot", group_size=2, explore_warmup_steps=0, memory=quality)

        def tell(degrees: list[float], outcomes: list[float], step: int) -> dict[str, Any]:
            n = len(degrees)
            rows = {"prompts": unit(*[0] * n), "completions": unit(*degrees)}
            texts = {"prompts": ["A"] * n, "completions": [""] * n}
            return service.reward(run_id="run", outcomes=outcomes, step=step, embeddings=rows, **texts)

        tell([0, 0], [RIGHT, RIGHT], 0)
        tell([40, 40], [WRONG, WRONG], 1)
        answer = tell([0, 40], [RIGHT, WRONG], 2)
        assert answer["support"] == {"success": [2, 2], "failure": [2, 2]}
        assert answer["components"]["exploit"]["raw"][0] == pytest.approx(0, abs=1e-6)
        assert answer["memory"] == {side: {"prompts": 1, "completions": 1} for side in ("success", "failure")}
        assert tell([80, 80], [0.0, 0.0], 9)["support"] == {"success": [0, 0], "failure": [0, 0]}
        assert service.history("run")[0].merged == {"success": 1}
