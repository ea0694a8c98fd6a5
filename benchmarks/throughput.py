"""How many completions with embeddings does a server score per second on one core, over HTTP?

    python benchmarks/throughput.py

A real `memr serve` with its store on disk; 200 prompts (d = 384), groups of 16; one client sends MessagePack and waits
for each response. First both memories are filled: L = 100 completions under each of the 200 prompts. Then requests of
64 and of 512 completions are timed, for K = 1 and K = 20 prompts read. The figure is per second of processor time of
the server's process with all its threads, because clients may run on other machines. The floors are 15,000 per second
for K = 1 and 6,000 for K = 20.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from memr_client import RewardClient

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from support.serving import serving

GROUP, D, PROMPTS, L = 16, 384, 200, 100
FLOORS = {1: 15_000, 20: 6_000}
GOALS = {1: 40_000, 20: 15_000}


def requests(n: int, seed: int) -> Iterator[dict[str, Any]]:
    """An endless sequence of reward requests of n completions, with embeddings as arrays (n, 384)."""
    rng = np.random.default_rng(seed)
    prompts = np.random.default_rng(0).normal(size=(PROMPTS, D)).astype(np.float32)
    while True:
        asked = np.repeat(rng.choice(PROMPTS, n // GROUP, replace=False), GROUP)
        yield {
            "prompts": [f"Question {number}: " + "how many apples are left? " * 8 for number in asked],
            "completions": ["First we add, then we take away. " * 15 + str(item) for item in range(n)],
            "outcomes": (rng.random(n) < 0.5).astype(float).tolist(),
            "embeddings": {
                "prompts": prompts[asked],
                "completions": (prompts[asked] + rng.normal(size=(n, D))).astype(np.float32),
            },
        }


def fill(client: RewardClient) -> None:
    """Send completions until every prompt has L of them in each memory."""
    made, full = requests(1024, seed=1), {"prompts": PROMPTS, "completions": PROMPTS * L}
    while client.run().memory.model_dump() != {"success": full, "failure": full}:
        for _ in range(10):
            client.reward(**next(made))


def processor_s(url: str) -> float:
    """Processor time of the server so far."""
    metrics = httpx.get(f"{url}/metrics").text
    found = re.search(r"^process_cpu_seconds_total (\S+)", metrics, re.MULTILINE)
    assert found is not None
    return float(found[1])


def measure(client: RewardClient, n: int, seconds: float, spent_s: Callable[[], float]) -> dict[str, float]:
    """Completions per second of processor time and per second of wall time, in requests of n."""
    made = [request for request, _ in zip(requests(n, seed=2), range(40), strict=False)]
    sent, used, began = 0, spent_s(), time.perf_counter()
    while time.perf_counter() - began < seconds:
        client.reward(**made[sent // n % len(made)])
        sent += n
    elapsed = time.perf_counter() - began
    return {"per_core_s": sent / (spent_s() - used), "per_s": sent / elapsed}


def throughput(
    k: int, store: str, seconds: float = 5.0, rounds: int = 1, beside: Callable[[], float] = float
) -> dict[int, list[dict[str, float]]]:
    """Request size -> results of `measure` over some rounds, for a run with full prompts that reads k of them.

    Args:
        store: the URL of an empty store.
        beside: processor time of the store outside the server's process.
    """
    with serving("--store", store) as url:
        client = RewardClient(url, run="full")
        client.create_run(preset="memory-r+", k=k, max_completions=L, explore_warmup_steps=0)
        fill(client)
        took = [
            {n: measure(client, n, seconds, lambda: processor_s(url) + beside()) for n in (64, 512)}
            for _ in range(rounds)
        ]
        return {n: [one[n] for one in took] for n in took[0]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=5.0, help="seconds for each row (default 5)")
    seconds: float = parser.parse_args().seconds
    print(f"{'completions/s, L = 100, all full':<34}{'per core-s':>12}{'per s':>10}{'floor':>10}{'goal':>10}")
    for k, floor in FLOORS.items():
        with tempfile.TemporaryDirectory() as folder:
            found = throughput(k, f"sqlite:///{folder}/data", seconds)
        for n, (took,) in found.items():
            row = f"K = {k}, {n} a request"
            print(f"{row:<34}{took['per_core_s']:>12,.0f}{took['per_s']:>10,.0f}{floor:>10,}{GOALS[k]:>10,}")


if __name__ == "__main__":
    main()
