"""Five scenes of failures, each with its own replicas, its own store and eight writers."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx
from memr_client import RewardClient
from support.redis_server import RedisServer

from benchmarks.chaos.history import Findings, check, reached
from benchmarks.chaos.proxy import Proxy
from benchmarks.chaos.replica import Replica
from benchmarks.chaos.servers import ALWAYS, SLOTS, Cluster, Watched, until, version_of
from benchmarks.chaos.writers import RUNS, Load

REPLICAS = 3
SETTINGS = {"MEMR_SNAPSHOT_BYTES": str(1 << 18)}
"""Frequent snapshots, so that some faults happen during one."""


@dataclass
class Scene:
    """A running scene: the writers, the replicas and the store."""

    url: str
    """Address of the store."""
    replicas: Sequence[Replica]
    load: Load
    random: random.Random
    seconds: float
    """Seconds of load from now on."""
    done: Counter[str] = field(default_factory=Counter)
    """Kind of fault -> how often it was caused."""
    rewinds_caused: int = 0

    def __post_init__(self) -> None:
        self.ends = time.monotonic() + self.seconds

    def pause(self, mean_s: float) -> bool:
        """Wait. Returns whether there is time for another fault; the first call always returns True."""
        until(min(self.ends, time.monotonic() + self.random.uniform(0.5, 1.5) * min(mean_s, self.seconds / 3)))
        return time.monotonic() < self.ends


@contextmanager
def staged(url: str, seed: int, seconds: float) -> Iterator[Scene]:
    """Start replicas over a store, and writers for this many seconds."""
    replicas = [Replica(url, **SETTINGS) for _ in range(REPLICAS)]
    try:
        for one in replicas:
            one.wait()
        with RewardClient(replicas[0].url) as client:
            for run_id in RUNS:
                client.create_run(run_id, RUNS[run_id])
        load = Load([one.url for one in replicas], seed)
        for writer in load.writers:
            writer.start()
        yield Scene(url, replicas, load, random.Random(seed), seconds)
    finally:
        for one in replicas:
            one.process.terminate()
        for one in replicas:
            one.close()


def settle(scene: Scene) -> Findings:
    """Let the writers finish, then compare the histories."""
    scene.load.finish()
    urls = [one.url for one in scene.replicas]
    found = check(scene.url, scene.load.writers, urls)
    found.rewinds_caused = scene.rewinds_caused
    found.rewinds_detected = sum(map(rewinds, urls))
    verify = [sys.executable, "-m", "memr_service", "verify", "--url", urls[0]]
    verifying = [
        subprocess.Popen([*verify, run_id], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for run_id in RUNS
    ]
    found.verify_failures = sum(one.wait() != 0 for one in verifying)
    scene.done["refused"] = sum(writer.refused for writer in scene.load.writers)
    return found


def replicas_die(seed: int, seconds: float) -> tuple[Findings, Scene, str]:
    """Replicas are killed, or stopped for longer than a barrier's lease."""
    with RedisServer(*ALWAYS) as server, staged(server.url, seed, seconds) as scene:
        while scene.pause(1.5):
            replica = scene.random.choice(scene.replicas)
            if scene.random.random() < 0.6:
                replica.kill()
                replica.start()
                replica.wait()
                scene.done["replicas killed"] += 1
            else:
                replica.freeze()
                time.sleep(scene.random.uniform(0.5, 7))
                replica.thaw()
                scene.done["replicas stopped"] += 1
        return settle(scene), scene, version_of(server.client())


def redis_dies(seed: int, seconds: float) -> tuple[Findings, Scene, str]:
    """Redis, which writes every commit to disk, is killed."""
    with RedisServer(*ALWAYS) as server, staged(server.url, seed, seconds) as scene:
        while scene.pause(2):
            server.kill()
            time.sleep(scene.random.uniform(0, 1))
            server.start()
            scene.done["Redis killed"] += 1
        return settle(scene), scene, version_of(server.client())


def network_fails(seed: int, seconds: float) -> tuple[Findings, Scene, str]:
    """Between replicas and Redis, connections break, responses get lost, and everything is late from time to time."""
    with RedisServer(*ALWAYS) as server:
        proxy = Proxy(server.port, seed)
        try:
            with staged(f"redis://127.0.0.1:{proxy.port}/0", seed, seconds) as scene:
                proxy.failing = True
                until(scene.ends)
                proxy.failing = False
                scene.done.update({f"pieces {fault}": met for fault, met in proxy.met.items()})
                return settle(scene), scene, version_of(server.client())
        finally:
            proxy.close()


def primary_is_replaced(seed: int, seconds: float) -> tuple[Findings, Scene, str]:
    """Both followers of the primary stop, so nothing is acknowledged; the primary dies, and a follower replaces it.

    Records written meanwhile are lost, but some replicas have read them. A rewind is caused for every run that a
    replica has in memory with more records than the store.
    """
    redis = Watched()
    try:
        with staged(redis.url, seed, seconds) as scene:
            while scene.pause(6):
                followers = redis.cut_off()
                time.sleep(3)
                with scene.load.paused():
                    seen = [_positions(one.url) for one in scene.replicas]
                    redis.fail_over(followers)
                    kept = _kept(redis.url)
                    scene.rewinds_caused += sum(one[run] > kept[run] for one in seen for run in RUNS)
                    for one in scene.replicas:
                        _positions(one.url)  # so that it notices before there is anything new
                scene.done["primaries replaced"] += 1
            return settle(scene), scene, version_of(redis.primary.client())
    finally:
        redis.close()


def cluster_loses_a_node(seed: int, seconds: float) -> tuple[Findings, Scene, str]:
    """One of a cluster's three primaries is killed, and its follower replaces it."""
    cluster = Cluster()
    try:
        with staged(cluster.url, seed, seconds) as scene:
            while scene.pause(4):
                cluster.fail_over(scene.random.randrange(SLOTS))
                scene.done["nodes replaced"] += 1
            return settle(scene), scene, version_of(cluster.servers[0].client())
    finally:
        cluster.close()


SCENES: dict[str, Callable[[int, float], tuple[Findings, Scene, str]]] = {
    "replicas": replicas_die,
    "redis": redis_dies,
    "network": network_fails,
    "sentinel": primary_is_replaced,
    "cluster": cluster_loses_a_node,
}


def rewinds(url: str) -> int:
    """Number of rewinds that a replica detected, from its metrics."""
    lines = httpx.get(f"{url}/metrics", timeout=30).text.splitlines()
    return round(sum(float(line.split()[-1]) for line in lines if line.startswith("memr_history_rewinds_total")))


def _positions(url: str) -> dict[str, int]:
    with RewardClient(url, timeout=60, retries=100) as client:
        return {run_id: client.run(run_id).position for run_id in RUNS}


def _kept(url: str) -> dict[str, int]:
    store = reached(url)
    try:
        tips = {run.run_id: store.shared.tip(run.uid) for run in store.runs.all()}
    finally:
        store.close()
    return {run_id: 0 if tip is None else tip.position for run_id, tip in tips.items()}
