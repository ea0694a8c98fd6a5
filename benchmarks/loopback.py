"""What a reward call costs a trainer that sends its embeddings: 64 completions to a real `memr serve` on this machine.

    python benchmarks/loopback.py

The server keeps its store on disk, so that a call ends when its record is durable. Four groups of 16 completions, 384
numbers each, over 200 prompts that come again and again; both memories fill up meanwhile. The first row is what a
trainer waits, those under it are the service's own account of it. Below stands what no such service does without: the
exchange of as many bytes with a bare server, which reads them, works for two milliseconds and answers (less those two),
and making as many bytes durable. All take turns, for a machine is not equally fast from one second to the next; how
much it differs a loop of Python shows. The goal is a median under 3 ms, on a core that has nothing else to do.
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
"""Calls of one kind before those of the next."""
WORK_MS = 2.0
"""How long the bare server works, so that whoever waits for it falls asleep as memr's callers do."""
ANSWER = 7_250
RECORD = 122_000
"""Bytes of an answer for 64 completions, and of what the store writes for them."""

Told = dict[str, float]
Kind = tuple[Callable[[dict[str, Any]], Any], Callable[[Any], Told]]
"""What is made of a request before the clock runs, and what is done with it: milliseconds that the answer tells of."""


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


def by_client(url: str) -> Kind:
    """Calls through `RewardClient`, which sends MessagePack."""
    client = RewardClient(url, run="client")
    client.create_run(preset="memory-r+", explore_warmup_steps=0)
    return dict, lambda request: client.reward(**request).timing_ms.model_dump()


def by_http(url: str) -> Kind:
    """Calls through httpx alone, in JSON; what it costs to write that JSON is not counted."""
    client = httpx.Client(base_url=url)
    client.put("/runs/http", json={"preset": "memory-r+", "explore_warmup_steps": 0}).raise_for_status()
    headers = {"content-type": "application/json"}

    def written(request: dict[str, Any]) -> bytes:
        lists = {name: rows.tolist() for name, rows in request["embeddings"].items()}
        return json.dumps({**request, "run_id": "http", "embeddings": lists}).encode()

    def call(body: bytes) -> Told:
        timing: Told = client.post("/reward", content=body, headers=headers).raise_for_status().json()["timing_ms"]
        return timing

    return written, call


def by_exchange(url: str) -> Kind:
    """The client's bytes to the bare server."""
    client = httpx.Client(base_url=url)

    def call(body: bytes) -> Told:
        client.post("/", content=body).raise_for_status()
        return {}

    return lambda request: encode(reward_request(**request, run_id="client"))[0], call


def by_disk(file: BinaryIO) -> Kind:
    """As many bytes as a record has, durable at the end of a file."""

    def call(record: bytes) -> Told:
        file.write(record)
        file.flush()
        os.fdatasync(file.fileno())
        return {}

    return lambda request: bytes(RECORD), call


def by_nothing() -> Kind:
    """A loop of Python, as fast as the machine is just now."""

    def call(numbers: range) -> Told:
        for _ in numbers:
            pass
        return {}

    return lambda request: range(40_000), call


def answer_bare(port: int) -> None:
    """Serve whoever sends bytes: read them, work, answer. What HTTP costs with uvicorn and httpx, and nothing else."""

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
    """Such a server in a process of its own; gives its url."""
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
    """Kind -> milliseconds of its calls, and of what they tell of themselves.

    The first turn of each is not counted, nor the first call of a turn: what is begun anew is slower than what goes on.
    """
    made = requests(0)
    took: dict[str, dict[str, list[float]]] = {name: {} for name in kinds}
    for number in range(1 + -(-calls // TURN)):
        for name, (prepare, call) in kinds.items():
            for place in range(TURN + 1):
                prepared = prepare(next(made))
                began = time.perf_counter()
                told = call(prepared)
                elapsed = 1e3 * (time.perf_counter() - began)
                if number and place:
                    for part, value in {**told, "call": elapsed}.items():
                        took[name].setdefault(part, []).append(value)
    return took


def show(name: str, took: list[float], less: float = 0.0) -> None:
    numbers = "".join(f"{value - less:>8.2f}" for value in np.quantile(took, [0.1, 0.5, 0.9, 0.99]))
    print(f"{name:<44}{numbers}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=500, help="how many of each kind (default 500)")
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
    show("httpx (JSON made beforehand)", took["http"]["call"])
    show("a bare exchange of the first's bytes", took["exchange"]["call"], WORK_MS)
    show("as many bytes as its record, durable", took["disk"]["call"])
    show("a loop of Python", took["nothing"]["call"])
    median = float(np.median(took["client"]["call"]))
    print(f"median {median:.2f} ms: {'under' if median < GOAL_MS else 'NOT under'} the goal of {GOAL_MS:g} ms")


if __name__ == "__main__":
    main()
