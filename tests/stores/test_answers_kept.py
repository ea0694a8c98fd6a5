"""Answers, suspects and decisions are equal on every store and every replica, and survive whatever a run survives."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from memr_client import RewardClient
from support.redis_server import fresh

M = 30
IDS = [f"q{number}" for number in range(M)]
DECIDED = [{"prompt_id": "q3", "decision": "replace", "answer": "7"}, {"prompt_id": "q4", "decision": "keep"}]


def step(client: RewardClient, number: int, run: str = "run") -> None:
    """Four groups of four; the reference of every third prompt is wrong."""
    rng = np.random.default_rng(number)
    items = np.repeat(rng.choice(M, 4, replace=False), 4).tolist()
    answers = [item if rng.random() < 0.7 else int(rng.integers(50, 60)) for item in items]
    references = [item if item % 3 else item + 100 for item in items]
    rows = np.random.default_rng(99).normal(size=(M, 8))
    client.reward(
        [IDS[item] for item in items],
        [f"{number}.{place}" for place in range(len(items))],
        [float(answer == reference) for answer, reference in zip(answers, references, strict=True)],
        run_id=run,
        step=number,
        prompt_ids=[IDS[item] for item in items],
        answers=answers,
        references=references,
        embeddings={"prompts": rows[items], "completions": rng.normal(size=(len(items), 8))},
    )


def trained(client: RewardClient) -> None:
    client.create_run("earlier")
    for number in range(6):
        step(client, 1000 + number, "earlier")
    client.set_decisions("earlier", DECIDED)
    client.create_run("run", prior_runs=["earlier"])
    for number in range(10):
        step(client, number)


def seen(client: RewardClient) -> Any:
    found = client.suspects(min_probability=0.0)
    labels = [(one.prompt_id, one.answer, one.probability, one.visits) for one in found.labels]
    return labels, [(one.prompt_id, one.kind, one.completions) for one in found.verdicts], client.decisions()


def test_both_stores_and_both_replicas_find_equal_suspects(tmp_path: Path) -> None:
    shared = fresh()
    with ExitStack() as opened:
        services = [
            opened.enter_context(RewardClient.embedded(url, run="run", encoder="hashed"))
            for url in ("memory:", f"sqlite:///{tmp_path}", shared, shared)
        ]
        memory, sqlite, replica, other = services
        for client in (memory, sqlite, replica):
            trained(client)
        found = [seen(client) for client in services]
        assert found == [found[0]] * 4
        assert {one[0] for one in found[0][0][:3]} <= {f"q{number}" for number in range(0, M, 3)}
        assert [one.decision for one in found[0][2]] == ["replace", "keep"]
        assert len({client.run("run", digest=True).digest for client in services}) == 1
        other.set_decisions("run", DECIDED[:1])
        step(other, 10)
        assert seen(replica) == seen(other)
        assert len(replica.decisions()) == 1
        assert replica.run(digest=True).digest == other.run(digest=True).digest != found[0]


def test_a_bounded_journal_keeps_answers_and_decisions(tmp_path: Path) -> None:
    bounded = {"run": "run", "encoder": "hashed", "snapshot_bytes": 1 << 16, "journal_bytes": 1 << 17}
    with RewardClient.embedded(f"sqlite:///{tmp_path}", **bounded) as client:
        trained(client)
        for number in range(10, 200):
            step(client, number)
        found, digest = seen(client), client.run("run", digest=True).digest
    with RewardClient.embedded(f"sqlite:///{tmp_path}", **bounded) as client:
        assert seen(client) == found
        assert client.run("run", digest=True).digest == digest
        assert client.create_run("next", prior_runs=["run"]).position == 1
        assert client.suspects("next", min_probability=0).runs == ["next", "run", "earlier"]
        assert client.decisions("next") == client.decisions("run")


def test_an_earlier_run_counts_as_it_was_at_a_checkpoint(tmp_path: Path) -> None:
    with RewardClient.embedded(f"sqlite:///{tmp_path}", run="run", encoder="hashed") as client:
        trained(client)
        client.create_checkpoint("run", "here")
        then = client.create_run("then", prior_runs=["run"])
        for number in range(10, 20):
            step(client, number)
        client.create_run("now", prior_runs=[{"run": "run", "at": "here"}])
        at_once, folded = (client.suspects(name, min_probability=0) for name in ("then", "now"))
        assert [(one.prompt_id, one.probability) for one in folded.labels] == [
            (one.prompt_id, one.probability) for one in at_once.labels
        ]
        assert client.decisions("now") == client.decisions("run")
        assert then.position == 1


def test_a_replay_reproduces_a_run_with_answers_and_decisions(tmp_path: Path) -> None:
    with RewardClient.embedded(f"sqlite:///{tmp_path}", run="run", encoder="hashed") as client:
        trained(client)
        client.set_decisions("run", DECIDED)
        step(client, 10)
        assert client.replay().settings[0].difference is None
