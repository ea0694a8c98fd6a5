"""Plans are equal on every store and every replica, and survive whatever a run survives."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from memr_client import RewardClient
from support.redis_server import fresh

M = 30
IDS = [f"q{number}" for number in range(M)]
ASKED: dict[str, Any] = {"step": 10, "exclude": IDS[:3]}


def step(client: RewardClient, number: int) -> None:
    rng = np.random.default_rng(number)
    items = np.repeat(rng.choice(M, 4, replace=False), 4).tolist()
    rows = np.random.default_rng(99).normal(size=(M, 8))
    client.reward(
        [IDS[item] for item in items],
        [f"{number}.{place}" for place in range(len(items))],
        rng.integers(2, size=len(items)).tolist(),
        step=number,
        prompt_ids=[IDS[item] for item in items],
        embeddings={"prompts": rows[items], "completions": rng.normal(size=(len(items), 8))},
    )


def trained(client: RewardClient) -> None:
    client.create_run("earlier")
    client.reward(["q1"] * 4, list("abcd"), [1, 1, 1, 0], run_id="earlier", prompt_ids=["q1"] * 4, step=0)
    client.create_run("run", prior_runs=["earlier"])
    client.set_pool("run", IDS)
    for number in range(10):
        step(client, number)


def test_both_stores_and_both_replicas_give_equal_plans_and_digests(tmp_path: Path) -> None:
    shared = fresh()
    with ExitStack() as opened:
        services = [
            opened.enter_context(RewardClient.embedded(url, run="run", encoder="hashed"))
            for url in ("memory:", f"sqlite:///{tmp_path}", shared, shared)
        ]
        memory, sqlite, replica, other = services
        for client in (memory, sqlite, replica):
            trained(client)
        found = [client.plan("run", 8, 16, **ASKED) for client in services]
        assert found == [found[0]] * 4
        assert len({client.run("run", digest=True).digest for client in services}) == 1
        step(other, 10)
        step(memory, 10)
        assert (
            replica.plan("run", 8, 16, step=11)
            == other.plan("run", 8, 16, step=11)
            == memory.plan("run", 8, 16, step=11)
        )
        assert replica.plan("run", 8, 16, position=12, **ASKED) == found[0]
        other.set_pool("run", IDS[:20])
        assert replica.pool("run").prompts == 20
        assert replica.plan("run", 20, 16).candidates == 20


def test_a_bounded_journal_keeps_pass_rates_and_pool(tmp_path: Path) -> None:
    bounded = {"run": "run", "encoder": "hashed", "snapshot_bytes": 1 << 16, "journal_bytes": 1 << 17}
    with RewardClient.embedded(f"sqlite:///{tmp_path}", **bounded) as client:
        trained(client)
        for number in range(10, 200):
            step(client, number)
        plan, digest = client.plan("run", 8, 16, step=200), client.run("run", digest=True).digest
    with RewardClient.embedded(f"sqlite:///{tmp_path}", **bounded) as client:
        assert client.plan("run", 8, 16, step=200) == plan
        assert client.run("run", digest=True).digest == digest
        assert client.create_run("next", prior_runs=["run"]).position == 1
