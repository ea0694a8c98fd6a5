"""The `snapshot` barrier (law L11): nobody waits, groups read one position, and are written whole."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from memr_client.errors import InvalidRequest
from support.in_process import InProcess

D, G = 12, 4
CONFIG: dict[str, Any] = {"explore_warmup_steps": 0, "k": 2, "max_prompts": 5, "max_completions": 6, "window": 9}


class Rollouts:
    """Groups of completions whose items arrive mixed with those of other groups."""

    def __init__(self, seed: int, groups: int) -> None:
        rng = np.random.default_rng(seed)
        self.prompts = [f"prompt {number}" for number in rng.integers(7, size=groups)]
        self.rows = {prompt: rng.normal(size=D) for prompt in self.prompts}
        self.completions = rng.normal(size=(groups, G, D))
        self.outcomes = rng.integers(2, size=(groups, G)).astype(float)
        starts = np.repeat(np.arange(groups), G) * 2
        self.arrivals = np.argsort(starts + rng.uniform(0, 7, groups * G), kind="stable")  # a few groups at a time

    def request(self, items: list[tuple[int, int]], **fields: Any) -> dict[str, Any]:
        return {
            "run_id": "run",
            "prompts": [self.prompts[group] for group, _ in items],
            "completions": [f"{group} {item}" for group, item in items],
            "outcomes": [self.outcomes[group, item] for group, item in items],
            "group_ids": [f"group {group}" for group, _ in items],
            "embeddings": {
                "prompts": [self.rows[self.prompts[group]].tolist() for group, _ in items],
                "completions": [self.completions[group, item].tolist() for group, item in items],
            },
            **fields,
        }

    def whole(self, group: int, **fields: Any) -> dict[str, Any]:
        return self.request([(group, item) for item in range(G)], **fields)


def test_every_item_reads_what_its_group_read_at_its_first_item(tmp_path: Path) -> None:
    rollouts = Rollouts(0, 12)
    expected: dict[int, dict[str, Any]] = {}
    arrived: dict[int, list[int]] = {}
    with InProcess(f"sqlite:///{tmp_path}") as service:
        service.create("run", barrier="snapshot", group_size=G, barrier_timeout_s=60, **CONFIG)
        for arrival in rollouts.arrivals.tolist():
            group, item = divmod(arrival, G)
            if group not in expected:
                expected[group] = service.reward(**rollouts.whole(group, mode="eval"))["components"]
            answer = service.reward(**rollouts.request([(group, item)], request_id=f"{group} {item}"))
            arrived.setdefault(group, []).append(item)
            for name, values in expected[group].items():
                assert answer["components"][name]["raw"] == [values["raw"][item]]
        live = service.info("run")
    with InProcess(f"sqlite:///{tmp_path}") as again:
        assert again.info("run") == live
    # Written whole, group by group, in the order in which the groups were completed.
    with InProcess("memory:") as plain:
        plain.create("run", order="read_first", **CONFIG)
        for group in _completion_order(rollouts):
            plain.reward(**rollouts.request([(group, item) for item in arrived[group]]))
        assert plain.info("run").memory == live.memory


def _completion_order(rollouts: Rollouts) -> list[int]:
    counts: dict[int, int] = {}
    order = []
    for arrival in rollouts.arrivals.tolist():
        group = arrival // G
        counts[group] = counts.get(group, 0) + 1
        if counts[group] == G:
            order.append(group)
    return order


def test_a_snapshot_run_that_is_killed_between_items_goes_on_where_it_was(tmp_path: Path) -> None:
    rollouts = Rollouts(1, 10)
    config = {"barrier": "snapshot", "group_size": G, "barrier_timeout_s": 60, **CONFIG}
    requests = [rollouts.request([divmod(arrival, G)]) for arrival in rollouts.arrivals.tolist()]
    with InProcess("memory:") as service:
        service.create("run", **config)
        expected = [service.reward(**request)["rewards"] for request in requests]
        digest = service.info("run").digest
    rewards = []
    service = InProcess(f"sqlite:///{tmp_path}")
    service.create("run", **config)
    for number, request in enumerate(requests):
        rewards.append(service.reward(**request)["rewards"])
        if number % 7 == 3:
            service.close()
            service = InProcess(f"sqlite:///{tmp_path}")
    assert rewards == expected
    assert service.info("run").digest == digest
    service.close()


def test_items_are_answered_at_once_and_written_when_the_group_is_complete() -> None:
    rollouts = Rollouts(2, 3)
    with InProcess("memory:") as service:
        service.create("run", barrier="snapshot", group_size=G, barrier_timeout_s=60, **CONFIG)
        for item in range(G):
            memory = service.reward(**rollouts.request([(0, item)]))["memory"]
            stored = memory["success"]["completions"] + memory["failure"]["completions"]
            assert stored == (G if item == G - 1 else 0)
        answer = service.reward(**rollouts.request([(1, 0), (2, 0), (1, 1), (1, 2), (1, 3), (2, 1)]))
        sizes = answer["memory"]
        assert sizes["success"]["completions"] + sizes["failure"]["completions"] == 2 * G  # group 2 is still open


def test_a_group_of_one_id_follows_another_in_the_same_request() -> None:
    rollouts = Rollouts(3, 1)
    with InProcess("memory:") as service:
        service.create("run", barrier="snapshot", group_size=2, barrier_timeout_s=60, **CONFIG)
        answer = service.reward(**rollouts.request([(0, item) for item in (0, 1, 2)]))
        assert sum(size["completions"] for size in answer["memory"].values()) == 2
        answer = service.reward(**rollouts.request([(0, 3)]))
        assert sum(size["completions"] for size in answer["memory"].values()) == 4


def test_a_group_whose_time_is_up_is_written_as_it_is() -> None:
    rollouts = Rollouts(4, 2)
    with InProcess("memory:") as service:
        service.create("run", barrier="snapshot", group_size=G, barrier_timeout_s=0.05, **CONFIG)
        service.reward(**rollouts.request([(0, 0), (0, 1)]))
        until = time.monotonic() + 10
        while not (sizes := service.info("run").memory).failure.completions + sizes.success.completions:
            assert time.monotonic() < until
        state = service.info("run").barrier
        assert state is not None
        assert state.timeouts == 1
        assert service.info("run").position == 2


def test_two_prompts_in_one_group_are_refused_and_change_nothing() -> None:
    rollouts = Rollouts(5, 8)
    other = next(group for group in range(8) if rollouts.prompts[group] != rollouts.prompts[0])
    with InProcess("memory:") as service:
        service.create("run", barrier="snapshot", group_size=G, barrier_timeout_s=60, **CONFIG)
        digest = service.info("run").digest
        with pytest.raises(InvalidRequest, match="another prompt"):
            service.reward(**rollouts.request([(0, 0), (other, 0)], group_ids=["same", "same"]))
        assert service.info("run").digest == digest


def test_the_barrier_needs_a_group_size_and_a_law_that_writes_after_reading() -> None:
    with InProcess("memory:") as service:
        with pytest.raises(ValueError, match="needs group_size"):
            service.create("run", barrier="snapshot")
        with pytest.raises(InvalidRequest, match="official presets"):
            service.create("run", barrier="snapshot", group_size=2, preset="official-memory-r+")
