"""How long does a reward call with embeddings take? 64 completions to a real `memr serve` on this machine.

    python benchmarks/loopback.py

The server's store is on disk, so a call ends when its record is durable. A call has four groups of 16 completions
(d = 384) for prompts out of 200; both memories fill up. The first row is the time that a trainer waits, with the
service's own timing below it. The other rows are lower bounds: exchanging the same bytes with a minimal server, which
reads them, works for two milliseconds (subtracted) and responds; and making the same bytes durable. The calls
alternate, because a machine's speed changes from second to second; the row of a Python loop shows how much. The goal is
a median under 3 ms on an idle core.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import httpx
import numpy as np
import uvicorn
from memr_client import RewardClient
from memr_client.columns import encode, reward_request

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from support.serving import free_port, serving

GROUPS, GROUP, D = 4, 16, 384
PROMPTS = 200
GOAL_MS = 3.0
TURN = 20
"""Consecutive calls of one kind."""
WORK_MS = 2.0
"""Seconds that the minimal server works, so that its caller sleeps as memr's callers do."""
ANSWER = 7_250
RECORD = 122_000
"""Bytes of a response for 64 completions, and of the record that the store writes."""

Timings = dict[str, float]
Kind = tuple[Callable[[dict[str, Any]], Any], Callable[[Any], Timings]]
"""How to prepare a request, which is not timed, and how to send it, which returns the service's own timing."""


def requests(seed: int) -> Iterator[dict[str, Any]]:
    """An endless sequence of reward requests with embeddings as arrays (64, 384)."""
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


def by_client(url: str) -> Kind:
    """Calls through `RewardClient`, which sends MessagePack."""
    client = RewardClient(url, run="client")
    client.create_run(preset="memory-r+", explore_warmup_steps=0)
    return dict, lambda request: client.reward(**request).timing_ms.model_dump()


def by_http(url: str) -> Kind:
    """Calls through httpx alone, as JSON that is written before the timing starts."""
    client = httpx.Client(base_url=url)
    client.put("/runs/http", json={"preset": "memory-r+", "explore_warmup_steps": 0}).raise_for_status()
    headers = {"content-type": "application/json"}

    def written(request: dict[str, Any]) -> bytes:
        lists = {name: rows.tolist() for name, rows in request["embeddings"].items()}
        return json.dumps({**request, "run_id": "http", "embeddings": lists}).encode()

    def call(body: bytes) -> Timings:
        timings: Timings = client.post("/reward", content=body, headers=headers).raise_for_status().json()["timing_ms"]
        return timings

    return written, call


def by_exchange(url: str) -> Kind:
    """The client's bytes, sent to the minimal server."""
    client = httpx.Client(base_url=url)

    def call(body: bytes) -> Timings:
        client.post("/", content=body).raise_for_status()
        return {}

    return lambda request: encode(reward_request(**request, run_id="client"))[0], call


def by_disk(file: BinaryIO) -> Kind:
    """Append the bytes of a record to a file durably."""

    def call(record: bytes) -> Timings:
        file.write(record)
        file.flush()
        os.fdatasync(file.fileno())
        return {}

    return lambda request: bytes(RECORD), call


def by_nothing() -> Kind:
    """A Python loop, which shows the machine's current speed."""

    def call(numbers: range) -> Timings:
        for _ in numbers:
            pass
        return {}

    return lambda request: range(40_000), call


def answer_bare(port: int) -> None:
    """A minimal server: read the body, work, respond. It shows the cost of HTTP with uvicorn and httpx alone."""

    def work() -> None:
        until = time.perf_counter() + WORK_MS / 1e3
        while time.perf_counter() < until:
            pass

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        while (await receive()).get("more_body"):
            pass
        await asyncio.get_running_loop().run_in_executor(None, work)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % ANSWER)]})
        await send({"type": "http.response.body", "body": bytes(ANSWER)})

    uvicorn.run(app, port=port, log_level="critical", access_log=False)


@contextmanager
def bare() -> Iterator[str]:
    """The minimal server in its own process; yields its URL."""
    port = free_port()
    server = multiprocessing.get_context("spawn").Process(target=answer_bare, args=(port,), daemon=True)
    server.start()
    try:
        with httpx.Client(transport=httpx.HTTPTransport(retries=10)) as client:
            client.get(f"http://127.0.0.1:{port}")
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.join()


def in_turns(kinds: dict[str, Kind], calls: int) -> dict[str, dict[str, list[float]]]:
    """Kind -> milliseconds of its calls, and of the service's own timing.

    The first turn of each kind and the first call of each turn are not counted, because they are slower.
    """
    made = requests(0)
    took: dict[str, dict[str, list[float]]] = {name: {} for name in kinds}
    for number in range(1 + -(-calls // TURN)):
        for name, (prepare, call) in kinds.items():
            for repeat in range(TURN + 1):
                prepared = prepare(next(made))
                began = time.perf_counter()
                timings = call(prepared)
                elapsed = 1e3 * (time.perf_counter() - began)
                if number and repeat:
                    for part, value in {**timings, "call": elapsed}.items():
                        took[name].setdefault(part, []).append(value)
    return took


def show(name: str, took: list[float], less: float = 0.0) -> None:
    numbers = "".join(f"{value - less:>8.2f}" for value in np.quantile(took, [0.1, 0.5, 0.9, 0.99]))
    print(f"{name:<44}{numbers}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=500, help="number of calls of each kind (default 500)")
    calls: int = parser.parse_args().calls
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        url = stack.enter_context(serving("--store", f"sqlite:///{folder}/data"))
        kinds = {
            "client": by_client(url),
            "http": by_http(url),
            "exchange": by_exchange(stack.enter_context(bare())),
            "disk": by_disk(stack.enter_context((folder / "probe").open("wb"))),
            "nothing": by_nothing(),
        }
        took = in_turns(kinds, calls)
    print(f"{'64 completions, 384 numbers each; ms':<44}{'p10':>8}{'p50':>8}{'p90':>8}{'p99':>8}")
    show("RewardClient (MessagePack)", took["client"]["call"])
    for name in ("score", "commit", "total"):
        show(f"  of it, in the service: {name}", took["client"][name])
    show("httpx (JSON written before)", took["http"]["call"])
    show("the same bytes to a minimal server", took["exchange"]["call"], WORK_MS)
    show("the bytes of its record, durable", took["disk"]["call"])
    show("a Python loop", took["nothing"]["call"])
    median = float(np.median(took["client"]["call"]))
    print(f"median {median:.2f} ms: {'under' if median < GOAL_MS else 'NOT under'} the goal of {GOAL_MS:g} ms")


if __name__ == "__main__":
    main()
