"""How long does each component and guard take per completion, without encoding and reading the memories?

    python benchmarks/components.py

A step of 8 groups of 16 completions (d = 384), against memories with L = 100 completions per prompt, for K = 1 and
K = 20 prompts read. Each figure is the best of many repetitions, so that other processes disturb it little. Only
explore depends on K: exploit and contrast read sums that are kept up to date, error_cluster reads its own prompt,
`value` 32 neighbours, and the others siblings.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from memr_service.engine.text_thread import at_once
from memr_service.rewards.components import (
    banded_novelty,
    contrast,
    error_cluster,
    outcome_ucb,
    partition,
    random,
    shuffled,
    value,
)
from memr_service.rewards.components.exploit import exploit
from memr_service.rewards.components.explore import explore
from memr_service.rewards.guards import (
    copied_share,
    foreign_stretches,
    mixed_groups_only,
    rank,
    repeated_share,
    spread_cap,
    trimmed,
)
from memr_service.state.window import scale

GROUPS, G, D, L, NEIGHBOURS, WINDOW = 8, 16, 384, 100, 32, 100
N = GROUPS * G
MARGIN = 1e-5
REPEATS = 30
PROMPT = "How many pens are there in forty boxes, if the boxes hold so many each? " * 3
TEXT = "".join(f"Each of the {number} boxes holds {7 * number % 29} pens. " for number in range(40))[:1000]


def rows(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Unit rows (float32) with cosines like those between solutions of one question: 0.87 on average."""
    vectors = rng.normal(size=D) + 0.4 * rng.normal(size=(*shape, D))
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


def calls(k: int) -> dict[str, Callable[[], object]]:
    """Name -> a call on the whole step. Functions that read a memory are called per group, as in the service."""
    rng = np.random.default_rng(0)
    a, failures, group = rows(rng, GROUPS, G), rows(rng, GROUPS, k * L), np.repeat(np.arange(GROUPS), G)
    flat, held = a.reshape(N, D), np.arange(G)
    outcome, wrong = (rng.random(N) < 0.3).astype(np.float64), np.ones(G, bool)
    total, window = rng.normal(size=(N, D)), rng.normal(size=WINDOW)
    cosines, outcomes = rng.uniform(0.5, 1, size=(N, NEIGHBOURS)), rng.random((N, NEIGHBOURS))
    texts = [f"{TEXT[item:]}{TEXT[:item]}" for item in range(N)]
    has, count, column = np.ones(N, bool), np.full(N, k * L), rng.normal(size=N)
    return {
        "exploit": lambda: exploit(flat, total, count),
        "explore": lambda: [explore(a[i], failures[i], held, MARGIN) for i in range(GROUPS)],
        "error_cluster": lambda: [error_cluster(a[i], failures[i, :L], held, wrong) for i in range(GROUPS)],
        "banded_novelty": lambda: banded_novelty(flat, group, outcome > 0.5),
        "contrast": lambda: contrast(flat, total, total, has),
        "value": lambda: value(cosines, outcomes),
        "outcome_ucb": lambda: outcome_ucb(count),
        "partition (cosine)": lambda: partition(None, flat, group, outcome),
        "partition (labels)": lambda: partition(group % 3, flat, group, outcome),
        "random": lambda: random(0, count),
        "shuffled": lambda: shuffled(column, 0, 0),
        "min-max window": lambda: scale(window, column, WINDOW, "item"),
        "trimmed": lambda: trimmed(window, column),
        "rank": lambda: rank(window, column),
        "spread_cap": lambda: spread_cap(column, outcome, group, 0.5),
        "mixed_groups_only": lambda: mixed_groups_only(outcome, group, 0.5),
        "repeated_share (1 kB)": lambda: [repeated_share(TEXT) for _ in range(N)],
        "copied_share (1 kB)": lambda: [copied_share(TEXT, PROMPT) for _ in range(N)],
        "foreign_stretches (1 kB)": lambda: at_once(foreign_stretches(texts, [PROMPT] * N, group)),
    }


def best(call: Callable[[], object]) -> float:
    """Microseconds per completion."""
    seconds = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return 1e6 * min(seconds) / N


def main() -> None:
    columns = [{name: best(call) for name, call in calls(k).items()} for k in (1, 20)]
    print(f"{'microseconds per completion':<28}{'K = 1':>8}{'K = 20':>8}")
    for name in columns[0]:
        print(f"{name:<28}{columns[0][name]:>8.1f}{columns[1][name]:>8.1f}")


if __name__ == "__main__":
    main()
