"""Large memories: a request's latency as the number of prompts grows, the time of a restart, and bytes."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from multiprocessing import get_context
from typing import Any

import numpy as np
from memr_service.engine.inputs import identity

from benchmarks.bench import grown
from benchmarks.bench.figures import Figure, figure
from benchmarks.bench.grown import RUN, D, Questions
from benchmarks.bench.server import Server, server
from benchmarks.bench.store import BenchStore, empty_store

SMALL, LARGE, MILLION = 1_000, 100_000, 1_000_000
N, GROUP = 64, 16
RESTARTS = 3
WARM, BLOCKS = 10, 5
"""Requests that are not counted, and the number of blocks of the others, which gives the spread of their medians."""
FULL_PROMPTS, L = 2_000, 100
WARM_REQUESTS = 200
"""Requests after which a server has loaded everything that it needs besides the stored data."""


def figures(*, quick: bool, store: str) -> Iterator[Figure]:
    """All figures of this part; with `quick`, for at most a hundred thousand prompts."""
    sizes = (SMALL, LARGE) if quick else (SMALL, LARGE, MILLION)
    with ExitStack() as opened:
        stores = [opened.enter_context(empty_store(store)) for _ in sizes]
        for n, kept in zip(sizes, stores, strict=True):
            made(kept, n)
        yield restart(stores[-1], sizes[-1])
        servers = [opened.enter_context(server(kept)) for kept in stores]
        yield from latencies(dict(zip(sizes, servers, strict=True)), rounds=100 if quick else 300)
    for storage in ("float32", "float16"):
        with empty_store(store) as kept:
            yield per_completion(kept, storage, prompts=FULL_PROMPTS // 2 if quick else FULL_PROMPTS)


def made(kept: BenchStore, n: int) -> None:
    """Put n prompts into a store, in a separate process, which needs twice the server's memory."""
    process = get_context("spawn").Process(target=_make, args=(kept.url, n))
    process.start()
    process.join()
    assert process.exitcode == 0


def _make(url: str, n: int) -> None:
    grown.store(url, n, [identity(grown.name(number), None) for number in range(n)])


def restart(kept: BenchStore, n: int) -> Figure:
    """Seconds from the start of the process to the first reward, with the data in the system's cache."""
    took = []
    source = grown.questions(n, seed=2)
    for number in range(RESTARTS):
        began = time.perf_counter()
        with server(kept) as one, one.client(RUN) as client:
            client.reward(**request(source, [f"Restarted {number}"], 1))
            took.append(time.perf_counter() - began)
    if n < MILLION:
        return figure(f"restart_{_short(n)}_s", took, "s", f"start to the first reward, {n:,} completions")
    says = "start to the first reward, a million completions under as many prompts"
    return figure("restart_1m_s", took, "s", says, floor=20, goal=5, at_most=True)


def latencies(servers: dict[int, Server], rounds: int) -> Iterator[Figure]:
    """Latency of a request of 64 completions, measured alternately at each server. Half of its prompts are new.

    Every second new prompt has right completions, so that the oldest stored prompt is evicted; the others have wrong
    ones, so that the nearest stored prompt must be found. With 64 prompts, every new prompt needs that search, because
    it has no siblings.
    """
    for per_prompt, kind in ((GROUP, "4 prompts"), (1, "64 prompts")):
        took = waits(servers, per_prompt, rounds, kind)
        blocks = {n: np.array(all_).reshape(BLOCKS, -1) for n, all_ in took.items()}
        suffix = "" if per_prompt == GROUP else "_64_prompts"
        for n, all_ in blocks.items():
            says = f"64 completions of {kind}, half of them unseen, {n:,} prompts stored: median wait"
            yield figure(f"latency_{_short(n)}{suffix}_ms", np.median(all_, axis=1).tolist(), "ms", says)
        small, large = min(blocks), max(blocks)
        ratios = np.median(blocks[large], axis=1) / np.median(blocks[small], axis=1)
        bound: dict[str, Any] = {"floor": 2.0, "goal": 1.3, "at_most": True} if large == MILLION else {}
        says = f"median wait with {large:,} prompts stored over that with {small:,}; {kind}"
        yield figure(f"latency_ratio_{_short(large)}_1k{suffix}", ratios.tolist(), "x", says, **bound)


def waits(servers: dict[int, Server], per_prompt: int, rounds: int, label: str) -> dict[int, list[float]]:
    """Milliseconds of each request to each server, without the first requests."""
    sources = {n: grown.questions(n, seed=3) for n in servers}
    rng = np.random.default_rng(5)
    took: dict[int, list[float]] = {n: [] for n in servers}
    with ExitStack() as opened:
        clients = {n: opened.enter_context(one.client(RUN)) for n, one in servers.items()}
        for number in range(-WARM, rounds):
            for n, client in clients.items():
                stored = rng.integers(n // 2, n, size=N // per_prompt // 2).tolist()
                names = [text for at in stored for text in (grown.name(at), f"New {label} {number} {at}")]
                outcomes = [1.0, 1.0, 1.0, 0.0] * (len(names) // 4)
                fields = request(sources[n], names, per_prompt, outcomes)
                began = time.perf_counter()
                client.reward(**fields)
                if number >= 0:
                    took[n].append(1e3 * (time.perf_counter() - began))
    return took


def request(
    source: Questions, prompts: Sequence[str], per_prompt: int, outcomes: Sequence[float] = ()
) -> dict[str, Any]:
    """A reward request with embeddings. `outcomes` has each prompt's outcome; by default all are right."""
    vectors = source.take(len(prompts)).repeat(per_prompt, axis=0)
    texts = [text for text in prompts for _ in range(per_prompt)]
    return {
        "prompts": texts,
        "completions": [f"answer {item}" for item in range(len(texts))],
        "outcomes": [outcome for outcome in outcomes or [1.0] * len(prompts) for _ in range(per_prompt)],
        "embeddings": {"prompts": vectors, "completions": source.answers(vectors)},
    }


def per_completion(kept: BenchStore, storage: str, prompts: int) -> Figure:
    """Resident memory per stored completion / bytes of its vector, with 100 completions under every prompt."""
    source, size = grown.questions(prompts, seed=4), D * np.dtype(storage).itemsize
    with server(kept) as one:
        with one.client("empty") as client:
            client.create_run(preset="memory-r+", storage=storage, explore_warmup_steps=0)
            for number in range(WARM_REQUESTS):
                client.reward(**request(source, [f"First {number}"], N))
        before = settled(one)
        with one.client("full") as client:
            client.create_run(preset="memory-r+", storage=storage, explore_warmup_steps=0)
            names = [grown.name(at) for at in range(prompts)]
            for _ in range(L // 20 + 1):  # once more than it takes to fill them
                for start in range(0, prompts, 3):
                    client.reward(**request(source, names[start : start + 3], 20))
            stored = client.run().memory.success.completions
        ratio = (settled(one) - before) / stored / size
    says = f"resident bytes per completion over its vector's, {stored:,} in {storage}, 100 under each prompt"
    short = {"float32": "f32", "float16": "f16"}[storage]
    return figure(f"bytes_per_completion_{short}", [ratio], "x", says, floor=1.25, goal=1.1, at_most=True)


def settled(one: Server) -> float:
    """Resident bytes of an idle server: the minimum over some seconds, because a snapshot may be in progress."""
    seen = []
    for _ in range(10):
        time.sleep(0.5)
        seen.append(one.resident())
    return min(seen)


def _short(n: int) -> str:
    return f"{n // 1_000_000}m" if n >= MILLION else f"{n // 1000}k"
