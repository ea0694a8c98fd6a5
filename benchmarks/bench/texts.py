"""Rewards for texts: the service over HTTP compared with straightforward implementations, and with encoding alone.

Processor time is compared: of the server's process, and of this process. All variants get the same requests, in turn.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import islice
from typing import Any

from memr_client import AsyncRewardClient, RewardClient
from memr_service.encoder import Encoders
from support.minilm import model

from benchmarks.bench.figures import Figure, figure
from benchmarks.bench.pieces import Pieces
from benchmarks.bench.server import Server, server
from benchmarks.bench.singly import Singly
from benchmarks.bench.store import empty_store
from benchmarks.bench.trace import Request, requests

MODEL = "all-MiniLM-L6-v2"
FLOORS = {(1, 16): {"floor": 20.0, "goal": 40.0}}
LONG = 40
"""Number of solutions that make a completion of about 4,000 word pieces."""


def figures(*, quick: bool, store: str) -> Iterator[Figure]:
    """All figures of this part, each with a new server, because a server does not encode a known text again."""
    for k, group in [(1, 16)] if quick else SETTINGS:
        with service(store) as one:
            yield from against_others(one, k, group, rounds=1 if quick else 3)
    with service(store) as one:
        yield overhead(one, rounds=2 if quick else 7, per_round=2 if quick else 8)
    with service(store) as one:
        yield burst(one, rounds=3 if quick else 9)
    with service(store) as one:
        yield windows(one, rounds=2 if quick else 5)


SETTINGS = [(1, 4), (1, 16), (20, 4), (20, 16)]
"""K and the number of completions per group."""


@contextmanager
def service(store: str) -> Iterator[Server]:
    """A server on one core, over a store of this kind, with a warmed-up encoder."""
    with empty_store(store) as kept, server(kept, MODEL, pinned=True) as one:
        with one.client("first") as client:
            for number in range(3):
                texts = [f"Warm-up {number} of text {text}. " * 20 for text in range(64)]
                client.reward([f"Warm-up {number}"] * len(texts), texts, [1.0] * len(texts))
        yield one


def against_others(one: Server, k: int, group: int, rounds: int) -> Iterator[Figure]:
    """Processor time of the other implementations / that of the service, for the same requests."""
    ratios: dict[str, list[float]] = {"service": [], "pieces": []}
    with one.client(f"k{k}-g{group}") as client:
        client.create_run(preset="memory-r+", k=k, explore_warmup_steps=0)
        singly, pieces = Singly(model(), k), Pieces(model(), k)
        made = list(islice(requests(group), 2 * rounds + 1))
        pieces.reward(made.pop())
        for pair in zip(made[::2], made[1::2], strict=True):
            # Two requests, for the server's clock ticks in hundredths of a second; of the slow one only the first.
            ours = on_server(one, partial(all_of, client, pair)) / 2
            ratios["service"].append(here(partial(one_by_one, singly, pair[0])) / ours)
            ratios["pieces"].append(here(partial(in_turn, pieces, pair)) / 2 / ours)
    what = f"K = {k}, groups of {group}"
    says = f"{what}: texts encoded singly, six for a completion, over the service"
    yield figure(f"service_speedup_k{k}_g{group}", ratios["service"], "x", says, **FLOORS.get((k, group), {}))
    says = f"{what}: sentence-transformers and Chroma over the service"
    yield figure(f"pieces_speedup_k{k}_g{group}", ratios["pieces"], "x", says)


def in_turn(pieces: Pieces, chosen: Iterable[Request]) -> None:
    for request in chosen:
        pieces.reward(request)


def one_by_one(singly: Singly, request: Request) -> None:
    for prompt, completion, outcome in zip(request.prompts, request.completions, request.outcomes, strict=True):
        singly.reward(prompt, completion, outcome)


def overhead(one: Server, rounds: int, per_round: int) -> Figure:
    """Processor time of the service / that of only encoding the same texts in the same precision."""
    encoder = Encoders([MODEL], "cpu").load(MODEL)
    ratios = []
    with one.client("overhead") as client:
        precision = str((client.create_run(preset="memory-r+", explore_warmup_steps=0).encoder or {})["precision"])
        made = requests(16, seed=1)

        def bare(chosen: list[Request]) -> None:
            for request in chosen:
                encoder.encode([*dict.fromkeys(request.prompts)], "float32")  # as the service has it, always
                encoder.encode(request.completions, precision)

        bare(list(islice(requests(16, seed=2), 2)))
        for number in range(rounds):
            chosen = list(islice(made, per_round))
            if number % 2:
                alone, ours = here(partial(bare, chosen)), on_server(one, partial(all_of, client, chosen))
            else:
                ours, alone = on_server(one, partial(all_of, client, chosen)), here(partial(bare, chosen))
            ratios.append(ours / alone)
    says = "the service's processor time over that of encoding the same texts, in requests of 64"
    return figure("service_overhead", ratios, "x", says, floor=1.05, goal=1.02, at_most=True)


def all_of(client: RewardClient, chosen: Iterable[Request]) -> None:
    for request in chosen:
        client.reward(**vars(request))


def burst(one: Server, rounds: int) -> Figure:
    """Completions per second in 64 concurrent requests of one / completions per second in one request of 64."""
    return figure(
        "burst_ratio",
        asyncio.run(_bursts(one, rounds)),
        "x",
        "completions/s in 64 requests of one at once over one request of 64",
        floor=0.8,
        goal=1.0,
    )


async def _bursts(one: Server, rounds: int) -> list[float]:
    ratios = []
    made = list(islice(requests(16, seed=3), 2 * rounds + 2))
    async with AsyncRewardClient(one.url, run="burst") as client:
        await client.create_run(preset="memory-r+", explore_warmup_steps=0)

        async def whole(request: Request) -> float:
            begun = time.perf_counter()
            await client.reward(**vars(request))
            return time.perf_counter() - begun

        async def single(request: Request) -> float:
            columns = zip(request.prompts, request.completions, request.outcomes, strict=True)
            begun = time.perf_counter()
            await asyncio.gather(*(client.reward([prompt], [text], [outcome]) for prompt, text, outcome in columns))
            return time.perf_counter() - begun

        for number, (first, second) in enumerate(zip(made[::2], made[1::2], strict=True)):
            took = await whole(first), await single(second)
            if number:
                ratios.append(took[0] / took[1])
    return ratios


def windows(one: Server, rounds: int) -> Figure:
    """Time per word piece in completions of 4,000 word pieces read whole / that in ordinary completions."""
    ratios = []
    texts = [text for request in requests(4, seed=4) for text in request.completions]
    prompts = next(requests(4)).prompts
    with one.client("windows") as client:
        client.create_run(preset="memory-r+", long_text="windows", explore_warmup_steps=0)
        for number in range(rounds + 1):
            chosen = texts[number * 4 * LONG : (number + 1) * 4 * LONG]
            whole = ["\n".join(chosen[start::4]) for start in range(4)]
            long = on_server(one, lambda: client.reward(prompts[:4], whole, [1.0] * 4))  # noqa: B023
            short = on_server(one, lambda: client.reward(prompts[:1] * len(chosen), chosen, [1.0] * len(chosen)))  # noqa: B023
            if number:
                ratios.append(long / short)
    says = "completions of 4,000 word pieces read whole (windows) over the same text in ordinary completions"
    return figure("windows_cost", ratios, "x", says)


def here(work: Callable[[], Any]) -> float:
    """Processor time of this process."""
    began = time.process_time()
    work()
    return time.process_time() - began


def on_server(one: Server, work: Callable[[], Any]) -> float:
    """Processor time of the server."""
    began = one.processor_s()
    work()
    return one.processor_s() - began
