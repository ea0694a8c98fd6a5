"""Throughput of replicas, and the duration of a commit, by store.

    python -m benchmarks.replicas                # three minutes; keep the machine otherwise idle

Throughput: 1, 2 and 4 `memr serve` over one Redis (`appendfsync always`), and one over the embedded store, with 1, 4
and 16 runs. Eight clients in this process send requests of 64 completions (d = 384, groups of 16) with embeddings, and
wait for each response. All requests of a run go to one replica, as with nginx. Services, Redis and clients share this
machine's cores, which limits the figures per second. The figures per second of processor time, of all services and
Redis together, show the cost of a layout on any machine.

Commit: one record of 100 KB with its response, 500 times, directly at the store: the embedded one with synchronous=FULL
(memr's setting) and NORMAL; Redis with `everysec`, with `always`, and with `everysec` and a replica that it waits for
(?wait=1). Work that a service does after the response (`Store.tidy`) is done between commits and is not counted.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from memr_client import RewardClient
from memr_service.store import open_store
from memr_service.store.base import NewResponse, StoredRecord
from memr_service.store.capabilities import Store
from memr_service.store.sqlite import SqliteStore

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from support.redis_server import RedisServer, wait_for

from benchmarks.chaos.replica import Replica
from benchmarks.chaos.servers import ALWAYS, linked, version_of

CLIENTS, ITEMS, GROUP, D, PROMPTS = 8, 64, 16, 384, 200
RUNS = (1, 4, 16)
EVERYSEC = ("--appendonly", "yes", "--appendfsync", "everysec")
RECORD_BYTES, COMMITS = 100_000, 500


def requests(seed: int) -> list[dict[str, Any]]:
    """Ten requests of a client."""
    rng = np.random.default_rng(seed)
    prompts = np.random.default_rng(0).normal(size=(PROMPTS, D)).astype(np.float32)
    made = []
    for _ in range(10):
        asked = np.repeat(rng.choice(PROMPTS, ITEMS // GROUP, replace=False), GROUP)
        completions = (prompts[asked] + rng.normal(size=(ITEMS, D))).astype(np.float32)
        made.append(
            {
                "prompts": [f"Question {number}" for number in asked],
                "completions": [f"It is {item}." for item in range(ITEMS)],
                "outcomes": (rng.random(ITEMS) < 0.5).astype(float),
                "embeddings": {"prompts": prompts[asked], "completions": completions},
            }
        )
    return made


def processor_s(urls: list[str], server: RedisServer) -> float:
    """Processor time of services and Redis so far."""
    texts = [httpx.get(f"{url}/metrics", timeout=60).text for url in urls]
    used = [re.search(r"^process_cpu_seconds_total (\S+)", text, re.MULTILINE) for text in texts]
    redis = server.client().info("cpu")
    return sum(float(one[1]) for one in used if one) + float(redis["used_cpu_user"]) + float(redis["used_cpu_sys"])


def throughput(urls: list[str], server: RedisServer, runs: int, seconds: float) -> tuple[float, float]:
    """Completions of all clients per second and per second of processor time. Run r is served by replica r."""
    sent, stopping = [0] * CLIENTS, threading.Event()

    def write(client: int) -> None:
        number = client % runs
        made = requests(client)
        with RewardClient(urls[number % len(urls)], run=f"{runs}-{number}") as service:
            while not stopping.is_set():
                service.reward(**made[sent[client] % len(made)])
                sent[client] += 1

    for number in range(runs):
        with RewardClient(urls[number % len(urls)]) as service:
            service.create_run(f"{runs}-{number}", preset="memory-r+", explore_warmup_steps=0)
    clients = [threading.Thread(target=write, args=(client,)) for client in range(CLIENTS)]
    for one in clients:
        one.start()
    time.sleep(1)
    before, used, began = sum(sent), processor_s(urls, server), time.perf_counter()
    time.sleep(seconds)
    done, elapsed, used = sum(sent) - before, time.perf_counter() - began, processor_s(urls, server) - used
    stopping.set()
    for one in clients:
        one.join()
    return ITEMS * done / elapsed, ITEMS * done / used


@contextmanager
def serving(store: str, count: int) -> Iterator[list[str]]:
    """Replicas over a store; yields their addresses."""
    replicas = [Replica(store, MEMR_TEXT_QUOTA_BYTES="0") for _ in range(count)]
    try:
        for one in replicas:
            one.wait()
        yield [one.url for one in replicas]
    finally:
        for one in replicas:
            one.close()


def commits(store: Store) -> list[float]:
    """Milliseconds of each commit."""
    uid, took = store.runs.create("run", "{}", 1, None, "2025-01-01T00:00:00+00:00").uid, []
    payload = os.urandom(RECORD_BYTES)
    for position in range(1, COMMITS + 1):
        record = StoredRecord(0, position, payload, bytes(1000), b"", b"")
        began = time.perf_counter()
        store.journal.commit(uid, record, [NewResponse(f"request {position}", bytes(32), bytes(4000))])
        took.append(1e3 * (time.perf_counter() - began))
        store.tidy()
    store.close()
    return took


def durabilities(opened: ExitStack) -> Iterator[tuple[str, Store]]:
    """A store for each durability setting."""
    for level in ("FULL", "NORMAL"):
        store = open_store(f"sqlite:///{opened.enter_context(tempfile.TemporaryDirectory())}/data")
        assert isinstance(store, SqliteStore)
        store._database.write(f"PRAGMA synchronous = {level}")
        yield f"embedded, {level}", store
    for name, options in (("everysec", EVERYSEC), ("always", ALWAYS)):
        yield f"Redis, {name}", open_store(opened.enter_context(RedisServer(*options)).url)
    primary = opened.enter_context(RedisServer(*EVERYSEC))
    replica = opened.enter_context(RedisServer("--replicaof", "127.0.0.1", str(primary.port)))
    wait_for(partial(linked, replica))
    yield "Redis, everysec, ?wait=1", open_store(f"{primary.url}?wait=1")


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=4.0, help="seconds for each layout (default 4)")
    seconds: float = parser.parse_args().seconds
    print(f"{'completions/s (per core-s)':<28}" + "".join(f"{runs:>13} run{'s' if runs > 1 else ' '}" for runs in RUNS))
    with ExitStack() as opened, tempfile.TemporaryDirectory() as folder:
        server = opened.enter_context(RedisServer(*ALWAYS))
        layouts = {"embedded store": (f"sqlite:///{folder}/data", 1)}
        for count in (1, 2, 4):
            layouts[f"Redis, replicas: {count}"] = (f"{server.url}?prefix=r{count}", count)
        for name, (store, count) in layouts.items():
            with serving(store, count) as urls:
                figures = [throughput(urls, server, runs, seconds) for runs in RUNS]
            line = "".join(f"{f'{clock:,.0f} ({core:,.0f})':>18}" for clock, core in figures)
            print(f"{name:<28}{line}", flush=True)
        print(f"({version_of(server.client())}, {os.cpu_count()} cores for everything)")
    print(f"\n{'commit, ms':<28}{'p50':>8}{'p99':>8}")
    with ExitStack() as opened:
        for name, kept in durabilities(opened):
            p50, p99 = np.percentile(commits(kept), [50, 99])
            print(f"{name:<28}{p50:>8.2f}{p99:>8.2f}", flush=True)


if __name__ == "__main__":
    main()
