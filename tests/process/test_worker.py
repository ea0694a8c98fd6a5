"""Replays over HTTP, in their own process."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time

import httpx
import numpy as np
import pytest
from memr_client import AsyncRewardClient, RewardClient
from memr_client.errors import InternalError, InvalidRequest, UnknownRun
from memr_client.schemas import ReplayProgress
from memr_service.insight.replay import worker
from memr_service.run import new_runs
from support.serving import serving

N = 64


def fill(client: RewardClient, run: str, requests: int) -> None:
    rng = np.random.default_rng(0)
    client.create_run(run, explore_warmup_steps=2)
    for step in range(requests):
        prompts = [f"question {item // 8} of {step % 10}" for item in range(N)]
        rows = {
            "prompts": np.eye(32)[[sum(map(ord, one)) % 32 for one in prompts]],
            "completions": rng.normal(size=(N, 32)),
        }
        outcomes = rng.integers(2, size=N).tolist()
        client.reward(prompts, ["a"] * N, outcomes, run_id=run, step=step, embeddings=rows)


@pytest.fixture(scope="module")
def server():
    with serving() as url, RewardClient(url) as client:
        fill(client, "run", 100)
        yield url


def test_progress_comes_line_by_line_and_then_the_result(server):
    heard: list[ReplayProgress] = []
    with RewardClient(server) as client:
        result = client.replay("run", [{}, {"k": 4}], heard.append)
        info = client.run("run")
    assert [(one.setting, one.completions) for one in heard] == [(0, 5056), (0, 6400), (1, 5056), (1, 6400)]
    assert {(one.settings, one.of) for one in heard} == {(2, 6400)}
    own, other = result.settings
    assert (own.difference, own.chain, own.correlation) == (None, info.chain, pytest.approx(1))
    assert own.scored == result.recorded
    assert (other.changed, other.chain) == ({"k": 4}, None)
    assert other.correlation < 1
    assert (result.completions, result.position, result.groups) == (6400, 100, 800)


def test_the_asynchronous_client_gets_the_same(server):
    async def replayed():
        async with AsyncRewardClient(server) as client:
            return await client.replay("run", [{"k": 4}])

    with RewardClient(server) as client:
        blank = {"settings": {0: {"seconds": True}}}
        expected = client.replay("run", [{"k": 4}]).model_dump(exclude=blank)
    assert asyncio.run(replayed()).model_dump(exclude=blank) == expected


def test_what_cannot_be_replayed_is_refused_before_the_first_line(server):
    with RewardClient(server) as client:
        with pytest.raises(UnknownRun):
            client.replay("another")
        with pytest.raises(InvalidRequest, match="storage"):
            client.replay("run", [{"k": 2}, {"storage": "float16"}])
        with pytest.raises(InvalidRequest, match="kk"):
            client.replay("run", [{"kk": 2}])


def workers_of(server: str) -> list[int]:
    """Processes that run a replay now."""
    listed = subprocess.run(["ps", "-eww", "-o", "pid,args"], capture_output=True, text=True, check=True).stdout
    return [int(line.split()[0]) for line in listed.splitlines() if f"-m {worker.__name__} left-" in line]


def test_a_replay_stops_when_its_caller_disconnects_and_blocks_nobody(server):
    with RewardClient(server) as client:
        fill(client, "left-alone", 200)
        sweep = {"settings": [{"k": 1 + number} for number in range(32)]}
        with httpx.stream("POST", f"{server}/runs/left-alone/replay", json=sweep, timeout=60) as answer:
            lines = answer.iter_lines()
            assert json.loads(next(lines))["progress"]["of"] == 12_800
            assert len(workers_of(server)) == 1
            fill(client, "meanwhile", 5)
            assert len(workers_of(server)) == 1
        give_up = time.monotonic() + 30
        while workers_of(server):
            assert time.monotonic() < give_up, "the replay goes on although nobody listens"
            time.sleep(0.05)
        assert client.replay("left-alone").settings[0].difference is None


def test_a_worker_that_dies_is_a_problem_and_not_a_short_response(monkeypatch):
    with RewardClient.embedded(run="run") as client:
        fill(client, "run", 2)
        monkeypatch.setattr(worker.sys, "executable", sys.executable)
        monkeypatch.setattr(worker, "__name__", "memr_service.no_such_module")
        with pytest.raises(InternalError, match="replay failed"):
            client.replay("run")


def test_settings_may_be_longer_than_an_argument_of_a_process(monkeypatch):
    monkeypatch.setattr(new_runs, "MOST_TAG_CHARS", 1 << 14)  # older runs have no such limit
    tags = ("<think>" * 400, "</think>" * 400)
    with RewardClient.embedded(run="run") as client:
        client.create_run("run", reasoning_tags=tags)
        client.reward(["q"] * 2, ["a", "b"], [1, 0])
        settings = [{"k": k} for k in range(1, 33)]
        assert len(settings) * len(str(tags)) > 128 << 10
        assert [one.changed.get("k", 1) for one in client.replay("run", settings).settings] == [*range(1, 33)]
