"""Recall of the prompt index against brute force, and what a query costs.

    python benchmarks/recall.py            # a few minutes: 7,473 real questions, and 100,000 vectors with evictions
    python benchmarks/recall.py --quick    # the same on the hashed encoder and 20,000 vectors

questions: all training questions of GSM8K are stored and every prompt is in a graph; asked are the 1,319 test questions
(none of which is stored), and each stored question for the nearest *other* one, as a read with k > 1 does.
clustered: vectors about random centres, more than fit, so that the older ones are evicted; the graphs are begun and
merged at the engine's own sizes. Asked are fresh vectors about the same centres.

Costs are CPU time on one core, 16 queries at once: with the graphs, and by scanning everything.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # waiting threads would count as CPU time

import numpy as np
from memr_service.encoder import HashedEncoder, SentenceEncoder
from memr_service.memory import PromptIndex
from memr_service.memory.graph import build
from memr_service.memory.index import CROSSOVER
from memr_service.memory.view import exact_cosines

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from real_data import solutions, train_questions

FLOOR = 0.99
NOTHING = np.empty(0, np.int64)
GROUP = 16
"""Queries asked at once: the distinct prompts of one request."""


@dataclass
class Row:
    """One line of the table."""

    name: str
    k: int
    recall: float
    index_us: float
    scan_us: float

    def __str__(self) -> str:
        holds = "holds" if self.recall >= FLOOR else "MISSED"
        return f"{self.name:44} {self.k:3} {self.recall:8.4f} {holds:7} {self.index_us:9.0f} {self.scan_us:9.0f}"


def fill(index: PromptIndex, vectors: np.ndarray) -> float:
    """Append vectors, evicting and indexing as a run does; seconds spent on building graphs."""
    building = 0.0
    for vector in vectors:
        if index.tail - index.head == index.capacity:
            index.drop_first()
        index.append(vector)
        if wanted := index.next_graph():
            started = time.process_time()
            index.swap(build(index.copy(*wanted), seed=0))
            building += time.process_time() - started
    return building


def nearest(index: PromptIndex, queries: np.ndarray, k: int) -> tuple[np.ndarray, float]:
    """Numbers of the k nearest (u, k) as a read picks them, and microseconds of CPU per query."""
    found = []
    started = time.process_time()
    for start in range(0, len(queries), GROUP):
        group = queries[start : start + GROUP]
        for query, numbers in zip(group, index.candidates(group, k, NOTHING), strict=True):
            order = np.argsort(-exact_cosines(query, index.take(numbers)), kind="stable")[:k]
            found.append(numbers[order])
    return np.stack(found), 1e6 * (time.process_time() - started) / len(queries)


def measure(name: str, index: PromptIndex, scan: PromptIndex, queries: np.ndarray, skip: int = 0) -> list[Row]:
    """Recall of `index` against `scan`, which has no graphs; `skip` leaves out that many nearest (the query itself)."""
    rows = []
    for k in (1, 20):
        found, index_us = nearest(index, queries, k + skip)
        wanted, scan_us = nearest(scan, queries, k + skip)
        hits = [len(np.intersect1d(a, b)) for a, b in zip(found[:, skip:], wanted[:, skip:], strict=True)]
        rows.append(Row(name, k, sum(hits) / (k * len(queries)), index_us, scan_us))
    return rows


def questions(quick: bool) -> list[Row]:
    """The real questions, all of them in one graph."""
    stored, asked = train_questions(), [question["question"] for question in solutions()]
    started = time.process_time()
    encoder = HashedEncoder() if quick else SentenceEncoder("all-MiniLM-L6-v2", "cpu")
    vectors, queries = encoder.encode(stored).vectors, encoder.encode(asked).vectors
    print(f"encoded {len(stored) + len(asked)} questions in {time.process_time() - started:.0f} s (CPU)", flush=True)
    index, scan = (PromptIndex(384, len(stored), crossover=at) for at in (len(stored), 1 << 60))
    building = fill(index, vectors)
    fill(scan, vectors)
    print(f"built a graph of {len(stored)} in {building:.1f} s (CPU)", flush=True)
    label = f"{encoder.name} {len(stored)} questions"
    return measure(f"{label}, fresh", index, scan, queries) + measure(f"{label}, stored", index, scan, vectors, skip=1)


def clustered(stored: int, inserted: int) -> list[Row]:
    """Vectors in clusters of about a hundred, of which only the newest stay."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(inserted // 100, 384))

    def sample(n: int) -> np.ndarray:
        rows = centres[rng.integers(len(centres), size=n)] + 0.7 * rng.normal(size=(n, 384))
        return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)

    small = {} if stored > CROSSOVER else {"crossover": stored // 2, "step": stored // 8}
    index, scan = PromptIndex(384, stored, **small), PromptIndex(384, stored, crossover=1 << 60)
    building = 0.0
    for start in range(0, inserted, 10_000):
        vectors = sample(min(10_000, inserted - start))
        building += fill(index, vectors)
        fill(scan, vectors)
    sizes = [graph.stop - max(graph.start, index.head) for graph in index.graphs]
    unindexed = index.tail - index.indexed
    print(
        f"{inserted} inserted, {stored} stay: graphs of {sizes} and {unindexed} beside, {building:.0f} s (CPU)",
        flush=True,
    )
    return measure(f"{stored} clustered after {inserted}", index, scan, sample(2000))


def main() -> None:
    parser = argparse.ArgumentParser(description="Recall of the prompt index against brute force.")
    parser.add_argument("--quick", action="store_true", help="smaller, without the model")
    quick = parser.parse_args().quick
    rows = questions(quick)
    rows += clustered(10_000, 25_000) if quick else [*clustered(50_000, 130_000), *clustered(100_000, 160_000)]
    print(f"\n{'':44} {'k':>3} {'recall':>8} {'':7} {'us/query':>9} {'scan us':>9}")
    print(*rows, sep="\n")
    sys.exit(any(row.recall < FLOOR for row in rows))


if __name__ == "__main__":
    main()
