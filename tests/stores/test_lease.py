"""Barriers where several services share a store: one of them holds each, and another takes it over."""

from __future__ import annotations

import asyncio
import hashlib
import json
import sys
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import pytest
from memr_client import RewardClient, RewardResponse
from memr_client.errors import MemrError, Unavailable
from memr_client.schemas import RunConfig
from memr_service.app import create_app
from memr_service.app.forward import FORWARDED
from memr_service.engine.barriers import HeldElsewhere
from memr_service.engine.service import Service
from memr_service.settings import Settings
from memr_service.store.base import Moved
from support.redis_server import free_port, fresh, wait_for
from support.redis_stores import make, opened, record
from support.requests import Step, ask

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.chaos.replica import Replica

RANKS = 4
KEY = "of-all-ranks"
CONFIG = RunConfig(preset="memory-r+", explore_warmup_steps=0, window=7)
STEPWISE = CONFIG.model_copy(update={"barrier": "step"})


# In the store


def lease_for(seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("engine.barriers.lease", "store.redis.leases"):
        monkeypatch.setattr(f"memr_service.{module}.LEASE_S", seconds)


def test_one_process_holds_a_lease_until_it_releases_it_or_does_not_renew_it(monkeypatch: pytest.MonkeyPatch) -> None:
    url = fresh()
    with opened(url) as one, opened(url) as other:
        uid = make(one).uid
        assert one.leases.acquire(uid, "http://one") is None
        assert one.leases.acquire(uid, "http://one") is None
        assert other.leases.acquire(uid, "http://other") == "http://one"
        assert (one.leases.holder(uid), other.leases.holder(uid)) == (None, "http://one")
        other.leases.release(uid)  # which is not its own
        assert other.leases.holder(uid) == "http://one"
        one.leases.release(uid)
        lease_for(0.05, monkeypatch)
        assert other.leases.acquire(uid, "http://other") is None
        wait_for(lambda: one.leases.acquire(uid, "http://one") is None)


def test_only_the_holder_of_a_lease_commits_to_the_run() -> None:
    url = fresh()
    with opened(url) as one, opened(url) as other:
        uid = make(one).uid
        one.leases.acquire(uid, "http://one")
        with pytest.raises(Moved, match="holds the barrier"):
            other.journal.commit(uid, record(1))
        one.journal.commit(uid, record(1))
        one.leases.release(uid)
        other.shared.tip(uid)
        other.journal.commit(uid, record(2))
        assert one.shared.conflicts == other.shared.conflicts == 0


# In one process


def play(scenario: Callable[[Service, Service], Coroutine[Any, Any, None]], address: str = "http://one") -> None:
    """Play a scenario with two services that share a run with the barrier `step`."""

    async def opened_and_closed() -> None:
        url = fresh()
        settings = [Settings(store=url, encoder="hashed", address=at) for at in (address, "http://other")]
        one, other = (Service.open(each) for each in settings)
        try:
            await one.runs.create("run", STEPWISE)
            await scenario(one, other)
        finally:
            await one.close()
            await other.close()

    asyncio.run(asyncio.wait_for(opened_and_closed(), 60))


def half(part: int) -> Any:
    return Step(0).part(part, 2, [8])


def test_a_part_that_comes_to_another_service_is_told_where_its_round_is() -> None:
    async def scenario(one: Service, other: Service) -> None:
        first = asyncio.create_task(ask(one, half(0)))
        while (await one.runs.describe("run")).barrier.waiting == 0:  # type: ignore[union-attr]
            await asyncio.sleep(0.01)
        with pytest.raises(HeldElsewhere) as told:
            await ask(other, half(1))
        assert told.value.address == "http://one"
        answers = await asyncio.gather(first, ask(one, half(1)))
        assert [answer["position"] for answer in answers] == [1, 1]

    play(scenario)


def test_a_service_that_ends_leaves_its_barriers_to_the_others_at_once() -> None:
    async def scenario(one: Service, other: Service) -> None:
        first = asyncio.create_task(ask(one, half(0)))
        while (await one.runs.describe("run")).barrier.waiting == 0:  # type: ignore[union-attr]
            await asyncio.sleep(0.01)
        await one.close()
        with pytest.raises(Unavailable):
            await first
        answers = await asyncio.gather(ask(other, half(0)), ask(other, half(1)))
        assert [answer["position"] for answer in answers] == [1, 1]

    play(scenario)


def test_a_holder_that_another_has_replaced_sends_away_who_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    lease_for(0.3, monkeypatch)

    async def scenario(one: Service, other: Service) -> None:
        first = asyncio.create_task(ask(one, half(0)))
        while (await one.runs.describe("run")).barrier.waiting == 0:  # type: ignore[union-attr]
            await asyncio.sleep(0.01)
        store: Any = one.store  # as if it had been stopped for longer than its time
        store._server.client.delete(*store._server.client.scan_iter(f"{store._server.prefix}:*:keeper"))
        second = asyncio.create_task(ask(other, half(1)))
        with pytest.raises(Unavailable, match="nothing of it was stored"):
            await first
        answers = await asyncio.gather(second, ask(other, half(0)))
        assert [answer["position"] for answer in answers] == [1, 1]
        assert one.barriers.state().waiting == 0

    play(scenario)


@pytest.mark.parametrize("lost", ["no address", "nobody there", "passed on already"])
def test_a_request_that_cannot_be_passed_on_is_to_be_sent_again(lost: str) -> None:
    async def scenario(one: Service, other: Service) -> None:
        waiting = asyncio.create_task(ask(one, half(0)))
        while (await one.runs.describe("run")).barrier.waiting == 0:  # type: ignore[union-attr]
            await asyncio.sleep(0.01)
        app = create_app(other.settings, other)
        app.state.context.lifecycle.open()
        body = half(1).model_dump_json(exclude_unset=True, exclude={"embeddings"})
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://other") as client:
            passed_on = {FORWARDED: "1"} if lost == "passed on already" else {}
            headers = {"Content-Type": "application/json", **passed_on}
            refused = await client.post("/reward", content=body, headers=headers)
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        assert "route requests by run" in refused.json()["remedy"].lower()
        waiting.cancel()

    play(scenario, {"no address": "", "nobody there": f"http://127.0.0.1:{free_port()}"}.get(lost, "http://one"))


# Over HTTP


@pytest.fixture(scope="module")
def replicas(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Replica]]:
    keys = tmp_path_factory.mktemp("keys") / "keys.json"
    entry = {"name": "ranks", "scope": "write", "sha256": hashlib.sha256(KEY.encode()).hexdigest()}
    keys.write_text(json.dumps([entry]))
    url = fresh()
    served = [Replica(url, MEMR_KEYS_FILE=str(keys)) for _ in range(3)]
    try:
        for one in served:
            one.wait(KEY)
        yield served
    finally:
        for one in served:
            one.close()


def client_of(replica: Replica, **options: Any) -> RewardClient:
    return RewardClient(replica.url, api_key=KEY, **options)


def send(replicas: list[Replica], run: str, step: Step, rank: int, first: int) -> RewardResponse:
    """Send a rank's part of a step, to one replica after the other until there is an answer."""
    part = step.part(rank, RANKS, [4, 8, 12])
    columns = {"step": step.number, "part": rank, "parts": RANKS, "request_id": f"{step.number}-{rank}"}
    rows = slice(4 * rank, 4 * rank + 4)
    embeddings = {"prompts": step.prompt_rows[rows], "completions": step.completions[rows]}
    until = time.monotonic() + 60
    for turn in count(first):
        try:
            with client_of(replicas[turn % len(replicas)], run=run, timeout=5, retries=0) as client:
                return client.reward(part.prompts, part.completions, part.outcomes, **columns, embeddings=embeddings)
        except MemrError:
            if time.monotonic() > until:
                raise
            time.sleep(0.1)
    raise AssertionError


def waiting(replica: Replica, run: str) -> int:
    with client_of(replica) as client:
        barrier = client.run(run).barrier
    return 0 if barrier is None else barrier.waiting


@pytest.mark.parametrize("fate", ["killed", "frozen", "ended"])
def test_ranks_spread_over_replicas_are_paid_as_one_rank_is_whatever_befalls_the_holder(
    replicas: list[Replica], fate: str
) -> None:
    with client_of(replicas[0]) as client:
        client.create_run(fate, STEPWISE)
    paid: list[list[float]] = []
    with ThreadPoolExecutor(RANKS) as ranks:
        for number in range(4):
            step = Step(number)
            asked = [ranks.submit(send, replicas, fate, step, rank, rank + number) for rank in range(3)]
            wait_for(lambda: max(waiting(one, fate) for one in replicas) == 3, 60)
            holder = next(one for one in replicas if waiting(one, fate) == 3)
            if number == 2:
                {"killed": holder.kill, "frozen": holder.freeze, "ended": holder.close}[fate]()
            asked.append(ranks.submit(send, replicas, fate, step, 3, replicas.index(holder) + 1))
            answers = [one.result() for one in asked]
            assert {answer.position for answer in answers} == {number + 1}
            paid.append([reward for answer in answers for reward in answer.rewards])
            if number == 2:
                holder.thaw() if fate == "frozen" else holder.start()
                holder.wait(KEY)
    with RewardClient.embedded(run="alone", encoder="hashed") as alone:
        alone.create_run(config=CONFIG)
        for number in range(4):
            step = Step(number)
            whole = step.request(range(16))
            embeddings = {"prompts": step.prompt_rows, "completions": step.completions}
            expected = alone.reward(
                whole.prompts, whole.completions, whole.outcomes, step=number, embeddings=embeddings
            )
            assert paid[number] == expected.rewards
        digest = alone.run(digest=True).digest
    for replica in replicas:
        with client_of(replica) as client:
            assert client.run(fate, digest=True).digest == digest


def test_openrlhf_finds_a_group_together_whichever_replica_each_sample_comes_to(replicas: list[Replica]) -> None:
    config = {"verifier": "exact", "barrier": "group", "group_size": 3, "explore_warmup_steps": 0}
    with client_of(replicas[0]) as client:
        client.create_run("openrlhf", **config)

    def sample(replica: Replica) -> dict[str, Any]:
        body = {"query": ["2+2? 4"], "prompts": ["2+2? "], "labels": ["4"]}
        found: dict[str, Any] = httpx.post(f"{replica.url}/openrlhf/openrlhf?key={KEY}", json=body, timeout=30).json()
        return found

    with ThreadPoolExecutor(3) as samples:
        answers = [*samples.map(sample, replicas)]
    assert [answer["scores"] for answer in answers] == [[1.0]] * 3
    with client_of(replicas[1]) as client:
        assert client.run("openrlhf").position == 1
