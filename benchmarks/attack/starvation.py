"""Requests and settings of one tenant, each within its limits, that would take the service from the others."""

from __future__ import annotations

import random
import socket
from contextlib import suppress

import httpx
import msgpack
import numpy as np
import orjson

from benchmarks.attack.target import Attack, Target

BOMB = "{}^{{9^{{9^9}}}}"
WAITING = 800_000
"""Characters of a completion that waits at a barrier."""
BIG_RUNS, BIG_STEPS, BIG_ITEMS, BIG_D = 8, 10, 500, 256
"""Runs that `GET /runs` lists, and what each of them has."""


def endless(target: Target) -> None:
    """A run whose steps wait for an hour."""
    config = {"barrier": "step", "barrier_timeout_s": 3600, "store_text": False, "preset": "memory-r"}
    target.set_up("PUT", "/runs/attack-waiting", config)


def hoard(target: Target, rng: random.Random) -> None:
    """A request of 4 MB that waits at a barrier, and whose caller leaves."""
    texts = [f"{rng.random()}" + "x" * WAITING for _ in range(5)]
    rows = [[1.0, 0.0]] * 5
    body = orjson.dumps(
        {
            "run_id": "attack-waiting", "prompts": ["q"] * 5, "completions": texts, "outcomes": [1.0] * 5,
            "step": rng.randrange(10**9), "part": 0, "parts": 2, "embeddings": {"prompts": rows, "completions": rows},
        }
    )  # fmt: skip
    if rng.random() < 0.5:
        target.send("POST", "/reward", body, patience=1.0)
        return
    head = b"POST /reward HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    with target.connect() as connection:
        connection.sendall(head % len(body) + body)
        connection.shutdown(socket.SHUT_WR)
        target.count(0)


def slow_pattern(target: Target) -> None:
    """Runs whose prompts are found by a pattern that backtracks, and by their text."""
    target.set_up("PUT", "/runs/attack-pattern", {"prompt_pattern": "(a+)+b", "verifier": "exact"})
    target.set_up("PUT", "/runs/attack-cut", {"verifier": "exact"})
    target.set_up("PUT", "/runs/attack-numbers", {"verifier": "numeric"})


def patterns(target: Target, rng: random.Random) -> None:
    """Texts in which OpenRLHF's prompts or numbers are found slowly."""
    kind = rng.randrange(3)
    big = "ab" * 250_000
    run, query, prompt, n = (
        ("pattern", "x", "a" * 200, 200),
        ("cut", big[1:] + "x", big, 20),
        ("numbers", "p" + "1,234 " * 160_000, "p", 20),
    )[kind]
    body = {"query": [query] * n, "prompts": [prompt] * n, "labels": ["1"] * n}
    target.send("POST", f"/openrlhf/attack-{run}?mode=eval", body, packed=True)


def many_centroids(target: Target) -> None:
    """A run that reads all it has, into as many centroids as there may be. One that is refused is made smaller."""
    for k in (10_000, 1_000, 100, 10):
        config = {"k": k, "components": {"exploit": {"weight": 1, "centroids": 64}}}
        with suppress(httpx.HTTPStatusError):
            target.set_up("PUT", "/runs/attack-centroids", config)
            return


def centroids(target: Target, rng: random.Random) -> None:
    """Six hundred completions, each of another prompt."""
    n = 600
    numbers = [rng.randrange(10**9) for _ in range(n)]
    body = {
        "run_id": "attack-centroids", "prompts": [f"p {one}" for one in numbers],
        "completions": [f"c {one} {one * 7}" for one in numbers], "outcomes": [1.0] * n,
        "group_ids": [f"g{one}" for one in numbers],
    }  # fmt: skip
    target.send("POST", "/reward", body)


def mathematics(target: Target) -> None:
    """A run that is judged by the verifier `math`."""
    target.set_up("PUT", "/runs/attack-math", {"verifier": "math"})
    body = {"query": [f"q ${one}$" for one in range(64)], "prompts": ["q"] * 64, "labels": ["5"] * 64}
    target.set_up("POST", "/openrlhf/attack-math", body)


def bombs(target: Target, rng: random.Random) -> None:
    """Twenty-four expressions that cannot be computed, from a caller that leaves after two seconds."""
    body = {
        "query": [f"q ${BOMB.format(rng.randrange(10**6))}$" for _ in range(24)],
        "prompts": ["q"] * 24,
        "labels": ["5"] * 24,
    }
    target.send("POST", "/openrlhf/attack-math", body, patience=2.0)


def big_runs(target: Target) -> None:
    """Many big runs, which are not open."""
    rng = np.random.default_rng(0)
    target.set_up("PUT", "/runs/attack-big-0", {"preset": "memory-r+", "explore_warmup_steps": 0})
    for step in range(BIG_STEPS):
        rows = rng.normal(size=(BIG_ITEMS, BIG_D)).astype(np.float32).tobytes()
        body = {
            "run_id": "attack-big-0", "prompts": [f"{step} {item // 4}" for item in range(BIG_ITEMS)],
            "completions": [f"{item}" for item in range(BIG_ITEMS)],
            "outcomes": rng.integers(2, size=BIG_ITEMS).astype(float).tolist(), "step": step,
            "embeddings": {"prompts": rows, "completions": rows},
        }  # fmt: skip
        target.set_up("POST", "/reward", msgpack.packb(body), content_type="application/msgpack")
    exported = target.set_up("GET", "/runs/attack-big-0/export")
    for copy in range(1, BIG_RUNS):
        target.set_up("POST", f"/runs/attack-big-{copy}/import", exported, content_type="application/octet-stream")


def listing(target: Target, rng: random.Random) -> None:
    """The list of runs, as the dashboard asks for it."""
    target.send("GET", rng.choice(["/runs", "/runs", "/metrics", f"/runs/attack-big-{rng.randrange(BIG_RUNS)}/map"]))


ATTACKS = (
    Attack("requests hoarded at a barrier", hoard, endless),
    Attack("OpenRLHF texts that are found slowly", patterns, slow_pattern),
    Attack("k x centroids", centroids, many_centroids, attackers=2),
    Attack("math bombs", bombs, mathematics),
    Attack("GET /runs with big runs", listing, big_runs),
)
