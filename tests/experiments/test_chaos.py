"""`make chaos`: its check finds errors, its writers stop together, and its network fails as configured."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from memr_client import RewardClient
from support.redis_server import RedisServer, fresh

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.chaos.history import Findings, check
from benchmarks.chaos.proxy import Proxy
from benchmarks.chaos.writers import RUNS, Office, Writer, batch, request_id

Tamper = Callable[[list[Writer], RewardClient], None]


def nothing(writers: list[Writer], client: RewardClient) -> None:
    pass


def claim_one_more(writers: list[Writer], client: RewardClient) -> None:
    writers[0].acknowledged.append(writers[0].acknowledged[-1])


def change_a_reward(writers: list[Writer], client: RewardClient) -> None:
    answer = writers[1].acknowledged[2]
    writers[1].acknowledged[2] = answer.model_copy(update={"rewards": [answer.rewards[0] + 1e-12, *answer.rewards[1:]]})


def swap_two_answers(writers: list[Writer], client: RewardClient) -> None:
    answers = writers[2].acknowledged
    answers[0], answers[2] = answers[2], answers[0]


@pytest.mark.parametrize(
    ("tamper", "found"),
    [
        (nothing, Findings(acknowledged=18)),
        (claim_one_more, Findings(acknowledged=19, lost=1)),
        (change_a_reward, Findings(acknowledged=18, replay_mismatches=1)),
        (swap_two_answers, Findings(acknowledged=18, replay_mismatches=2)),
    ],
)
def test_the_check_finds_what_is_lost_and_what_is_different(tamper: Tamper, found: Findings) -> None:
    url = fresh()
    writers = [Writer(number, [], Office(), 0) for number in range(6)]
    with RewardClient.embedded(url, encoder="hashed", preload=False) as client:
        for run_id in RUNS:
            client.create_run(run_id, RUNS[run_id])
        for number in range(3):
            for writer in writers:
                request = batch(writer.number, number) | {"request_id": request_id(writer.number, number)}
                writer.acknowledged.append(client.reward(**request, run_id=writer.run_id))
        tamper(writers, client)
    assert check(url, writers, []) == found


def test_both_writers_of_a_run_send_equally_many() -> None:
    office = Office()
    assert office.begin("ranks", 0)
    assert office.begin("ranks", 1)
    office.stopping = True
    assert office.begin("ranks", 1)  # the other rank waits for it
    assert not office.begin("ranks", 2)


def test_a_failing_network_loses_responses_breaks_connections_and_is_late() -> None:
    with RedisServer() as server:
        proxy = Proxy(server.port, seed=0)
        proxy.failing = True
        try:
            for _ in range(300):
                with socket.create_connection(("127.0.0.1", proxy.port), timeout=0.5) as asked:
                    try:
                        asked.sendall(b"PING\r\n")
                        if not asked.recv(100):
                            continue
                    except OSError:
                        continue
        finally:
            proxy.close()
        assert proxy.met.keys() == {"cut", "lost", "late"}
