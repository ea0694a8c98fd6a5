"""What a reward call costs a trainer that sends its embeddings: 64 completions to a real `memr serve` on this machine.

    python benchmarks/loopback.py

The server keeps its store on disk, so that a call ends when its record is durable. Four groups of 16 completions, 384
numbers each, over 200 prompts that come again and again; both memories fill up meanwhile. The first row is what a
trainer waits, the last three are the service's own account of it. The goal is a median under 3 ms, on a core that has
nothing else to do.
"""

from __future__ import annotations

import argparse
import json
import os
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

from serving import serving

GROUPS, GROUP, D = 4, 16, 384
PROMPTS = 200
GOAL_MS = 3.0


def requests(seed: int) -> Iterator[dict[str, Any]]:
    """Reward requests without end, embeddings as arrays (64, 384)."""
    rng = np.random.default_rng(seed)
    prompts = rng.normal(size=(PROMPTS, D)).astype(np.float32)
    while True:
        asked = np.repeat(rng.choice(PROMPTS, GROUPS, replace=False), GROUP)
        completions = prompts[asked] + rng.normal(size=(len(asked), D))
        yield {
            "prompts": [f"Question {number}: " + "how many apples are left? " * 8 for number in asked],
            "completions": ["First we add, then we take away. " * 15 + str(item) for item in range(len(asked))],
            "outcomes": (rng.random(len(asked)) < 0.4).astype(float).tolist(),
            "embeddings": {"prompts": prompts[asked], "completions": completions.astype(np.float32)},
        }


def by_client(url: str) -> Callable[[dict[str, Any]], dict[str, float]]:
    """Calls through `RewardClient`, which sends MessagePack."""
    client = RewardClient(url, run="client")
    client.create_run(preset="memory-r+", explore_warmup_steps=0)

    def call(request: dict[str, Any]) -> dict[str, float]:
        return client.reward(**request).timing_ms.model_dump()

    return call


def by_http(url: str) -> Callable[[dict[str, Any]], dict[str, float]]:
    """Calls through httpx alone, in JSON; what it costs to write that JSON is not counted."""
    client = httpx.Client(base_url=url)
    client.put("/runs/http", json={"preset": "memory-r+", "explore_warmup_steps": 0}).raise_for_status()
    headers = {"content-type": "application/json"}

    def call(request: dict[str, Any]) -> dict[str, float]:
        answer = client.post("/reward", content=request["body"], headers=headers).raise_for_status()
        timing: dict[str, float] = answer.json()["timing_ms"]
        return timing

    return call


def as_json(request: dict[str, Any]) -> dict[str, Any]:
    """A request as the bytes of a body, made before the clock runs."""
    lists = {name: rows.tolist() for name, rows in request["embeddings"].items()}
    return {"body": json.dumps({**request, "run_id": "http", "embeddings": lists}).encode()}


def measure(call: Callable[[dict[str, Any]], dict[str, float]], made: list[dict[str, Any]]) -> dict[str, list[float]]:
    """Milliseconds of each call, and of the service's own timings; the first tenth of the calls is not counted."""
    took: dict[str, list[float]] = {"call": []}
    for number, request in enumerate(made):
        began = time.perf_counter()
        timing = call(request)
        elapsed = 1e3 * (time.perf_counter() - began)
        if number >= len(made) // 10:
            took["call"].append(elapsed)
            for name, value in timing.items():
                took.setdefault(name, []).append(value)
    return took


def disk_ms(folder: str, size: int = 200_000) -> list[float]:
    """Milliseconds of writing and syncing as many bytes as a record has: what no durable store can do without."""
    took = []
    with open(Path(folder) / "probe", "wb") as file:
        for _ in range(100):
            began = time.perf_counter()
            file.write(bytes(size))
            file.flush()
            os.fdatasync(file.fileno())
            took.append(1e3 * (time.perf_counter() - began))
    return took


def show(name: str, took: list[float]) -> None:
    p50, p90, p99 = np.quantile(took, [0.5, 0.9, 0.99])
    print(f"{name:<44}{p50:>8.2f}{p90:>8.2f}{p99:>8.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=500, help="how many of each kind (default 500)")
    calls: int = parser.parse_args().calls
    made = requests(0)
    with tempfile.TemporaryDirectory() as folder, serving("--store", f"sqlite:///{folder}/data") as url:
        client = measure(by_client(url), [next(made) for _ in range(calls)])
        plain = measure(by_http(url), [as_json(next(made)) for _ in range(calls)])
        disk = disk_ms(folder)
    print(f"{'64 completions, 384 numbers each; ms':<44}{'p50':>8}{'p90':>8}{'p99':>8}")
    show("RewardClient (MessagePack)", client["call"])
    show("httpx (JSON made beforehand)", plain["call"])
    for name in ("score", "commit", "total"):
        show(f"  of the first, in the service: {name}", client[name])
    show("  a 200 kB write to this disk", disk)
    median = float(np.median(client["call"]))
    print(f"median {median:.2f} ms: {'under' if median < GOAL_MS else 'NOT under'} the goal of {GOAL_MS:g} ms")


if __name__ == "__main__":
    main()
