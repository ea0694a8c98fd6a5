"""A run's history: what it says of each step, against numpy over the answers themselves."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from support.in_process import InProcess

D = 8


def batch(number: int, step: int | None, n: int = 6) -> dict[str, Any]:
    rng = np.random.default_rng(number)
    return {
        "run_id": "run",
        "prompts": [f"prompt {item // 3}" for item in range(n)],
        "completions": ["x" * int(length) for length in rng.integers(1, 90, size=n)],
        "outcomes": [1.0, 1.0, 1.0, 0.0, 1.0, 0.0][:n],
        "step": step,
        "embeddings": {
            "prompts": np.repeat(np.eye(D)[:2], 3, axis=0)[:n].tolist(),
            "completions": rng.normal(size=(n, D)).tolist(),
        },
    }


def test_a_step_sent_in_parts_is_one_row_and_a_record_without_a_step_its_own() -> None:
    with InProcess("memory:") as service:
        service.create("run", explore_warmup_steps=0)
        steps = [0, 0, 1, None, None, 2]
        for number, step in enumerate(steps):
            service.reward(**batch(number, step))
        rows = service.history("run")
    assert [row.step for row in rows] == [0, 1, None, None, 2]
    assert [(row.first_position, row.position) for row in rows] == [(1, 2), (3, 3), (4, 4), (5, 5), (6, 6)]
    assert [row.items for row in rows] == [12, 6, 6, 6, 6]


def test_a_row_holds_the_statistics_of_its_steps_answers() -> None:
    with InProcess("memory:") as service:
        service.create("run", explore_warmup_steps=0, components={"exploit": 2.0, "explore": 0.5})
        requests = [batch(number, 7) for number in range(3)]
        answers = [service.reward(**request) for request in requests]
        row = service.history("run")[0]
    rewards = np.concatenate([answer["rewards"] for answer in answers])
    lengths = np.array([len(text) for request in requests for text in request["completions"]])
    assert row.reward_mean == pytest.approx(rewards.mean(), rel=1e-6)
    assert row.reward_std == pytest.approx(rewards.std(), rel=1e-6)
    assert row.outcome_mean == pytest.approx(4 / 6, rel=1e-6)
    assert (row.groups, row.zero_variance_share) == (6, 0.5)
    assert row.length_mean == pytest.approx(lengths.mean(), rel=1e-6)
    assert row.length is not None
    assert row.length.p95 == pytest.approx(np.quantile(lengths, 0.95), rel=1e-6)
    paid = {}
    for name, weight in (("exploit", 2.0), ("explore", 0.5)):
        raw = np.array(
            [value for answer in answers for value in answer["components"][name]["raw"] if value is not None]
        )
        scaled = np.concatenate([answer["components"][name]["scaled"] for answer in answers])
        component, paid[name] = row.components[name], abs(weight * scaled.mean())
        assert component.defined == len(raw)
        assert component.raw is not None
        assert component.raw.p25 == pytest.approx(np.quantile(raw, 0.25), rel=1e-5)
        assert component.scaled_mean == pytest.approx(scaled.mean(), rel=1e-5)
        assert component.scaled_std == pytest.approx(scaled.std(), rel=1e-5)
    assert row.components["exploit"].share == pytest.approx(paid["exploit"] / sum(paid.values()), rel=1e-5)
    support = np.concatenate([answer["support"]["failure"] for answer in answers])
    assert row.support["failure"] == pytest.approx(support.mean(), rel=1e-6)
    assert row.memory.model_dump() == answers[-1]["memory"]


def test_a_row_tells_how_unlike_siblings_are() -> None:
    with InProcess("memory:") as service:
        service.create("run")
        requests = [batch(number, 0) for number in range(2)]
        for request in requests:
            service.reward(**request)
        service.reward(**batch(2, 1, n=1))
        row, alone = service.history("run")
    expected = []
    for request in requests:
        a = np.array(request["embeddings"]["completions"])
        cosines = (unit := a / np.linalg.norm(a, axis=1, keepdims=True)) @ unit.T
        expected += [np.mean(1 - cosines[group, group][np.triu_indices(3, 1)]) for group in (slice(3), slice(3, 6))]
    assert row.diversity == pytest.approx(np.mean(expected), rel=1e-5)
    assert alone.diversity is None


def test_a_row_counts_what_left_the_memories_and_why() -> None:
    with InProcess("memory:") as service:
        service.create("room", max_prompts=1, max_completions=2)
        service.create("age", memory={"max_age": 1})
        for run_id in ("room", "age"):
            for step in range(3):
                service.reward(**batch(step, step) | {"run_id": run_id})
        room, age = service.history("room"), service.history("age")
    # Each step: three successes under the first prompt and one under the second, which has two failures as well.
    assert room[0].evicted == {"success:max_completions": 1, "success:max_prompts": 1}
    assert room[1].evicted == {"success:max_completions": 1, "success:max_prompts": 2, "failure:max_completions": 2}
    assert [row.evicted for row in age] == [{}, {}, {"success:max_age": 4, "failure:max_age": 2}]


def test_reading_goes_on_after_a_position_and_stops_at_the_limit() -> None:
    with InProcess("memory:") as service:
        service.create("run")
        for number in range(9):
            service.reward(**batch(number, number))
        first = service.history("run", limit=4)
        rest = service.history("run", after=first[-1].position)
    assert [row.step for row in first + rest] == list(range(9))


def test_history_follows_a_restore_and_comes_along_with_a_fork() -> None:
    with InProcess("memory:") as service:
        service.create("run")
        for number in range(4):
            service.reward(**batch(number, number))
            service.checkpoint("run", f"step-{number}")
        before = service.history("run")
        service.restore("run", "step-1")
        service.reward(**batch(9, 9))
        assert [(row.step, row.branch) for row in service.history("run")] == [(0, 0), (1, 0), (9, 1)]
        assert service.history("run")[:2] == before[:2]
        service.fork("run", "copy", "step-3")
        assert service.history("copy") == before


def test_evaluation_and_empty_requests_leave_no_row() -> None:
    with InProcess("memory:") as service:
        service.create("run")
        service.reward(**batch(0, 0) | {"mode": "eval"})
        service.reward(run_id="run", prompts=[], completions=[], outcomes=[])
        assert service.history("run") == []
