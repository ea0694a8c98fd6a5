"""Embeddings sent by the caller: completions per second that a core of the server scores, over HTTP.

Both memories are full, with 100 completions under each of 200 prompts; see `benchmarks/throughput.py`.
"""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.bench.figures import Figure, figure
from benchmarks.bench.store import empty_store
from benchmarks.throughput import FLOORS, GOALS, throughput

NAMES = {1: "embeddings_k1", 20: "embeddings_k20_l100"}


def figures(*, quick: bool, store: str) -> Iterator[Figure]:
    """All of these figures."""
    for k, floor in FLOORS.items():
        with empty_store(store) as kept:
            found = throughput(k, kept.url, seconds=1.0 if quick else 3.0, rounds=3, beside=kept.processor_s)
        for n, measured in found.items():
            per_core = [one["per_core_s"] for one in measured]
            says = f"completions a second of one core, K = {k}, L = 100 full, {n} a request"
            if n == 512:
                yield figure(f"{NAMES[k]}_per_core_s", per_core, "/s", says, floor=floor, goal=GOALS[k])
            else:
                yield figure(f"{NAMES[k]}_in_{n}_per_core_s", per_core, "/s", says)
