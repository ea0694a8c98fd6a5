"""Recall of the prompt and completion indices compared with brute force, and the time per query.

    python benchmarks/recall.py                 # 20 minutes: real questions and solutions, up to 100,000 vectors
    python benchmarks/recall.py --quick         # with the hashed encoder and a few thousand vectors
    python benchmarks/recall.py --completions   # only the 32 neighbours that `value` reads
    python benchmarks/recall.py --efforts       # only what less effort in a graph finds, with the hashed encoder

questions: all training questions of GSM8K are stored, and every prompt is in a graph. Queries are the 1,319 test
questions (none of them stored), and each stored question for the nearest *other* one, as a read with k > 1 does.
clustered: vectors around random centres, more than fit, so that older ones are evicted; graphs are built and merged at
the service's own sizes. Queries are new vectors around the same centres.
solutions: four models' solutions of the test questions, all in one graph. Each is a query for its nearest others.
Copies: additionally five texts that were given 500 times each, as by a policy that repeats itself.
varied: variants of each solution (cosine 0.9); one stored vector in fifty was removed. "in one graph" shows the size
from which a graph is faster; the others have graphs of the service's own sizes.

Times are CPU time on one core, for 16 queries at once (prompts) or 128 (completions): with the graphs, and by scanning
all vectors.
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
from memr_service.memory import CompletionIndex, GraphSizes, PromptIndex, VectorBlocks
from memr_service.memory.cosine import exact_cosines
from memr_service.memory.hnsw import build
from memr_service.memory.index import Index
from memr_service.memory.prompt_index import SIZES

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from support.real_data import rollouts, solutions, train_questions

FLOOR = 0.99
NOTHING = np.empty(0, np.int64)
GROUP, STEP = 16, 128
"""Queries at once: the distinct prompts of one request, and the completions of 8 groups of 16."""
NEVER = 1 << 60
EFFORTS = (64, 96, 128, 200)
WITHOUT_GRAPHS = GraphSizes(NEVER, NEVER)


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
        return f"{self.name:48} {self.k:3} {self.recall:8.4f} {holds:7} {self.index_us:9.0f} {self.scan_us:9.0f}"


def fill(index: PromptIndex, vectors: np.ndarray) -> float:
    """Append vectors with evictions and graphs as in a run. Returns the seconds spent on building graphs."""
    building = 0.0
    for vector in vectors:
        if index.tail - index.head == index.capacity:
            index.drop_first()
        index.append(vector)
        if wanted := index.next_graph():
            started = time.process_time()
            index.swap(build(index.vector_range(*wanted), seed=0))
            building += time.process_time() - started
    return building


def nearest(index: Index, queries: np.ndarray, k: int, at_once: int) -> tuple[np.ndarray, float]:
    """Numbers of the k nearest vectors (u, k), as a read selects them, and microseconds of CPU per query."""
    found = []
    started = time.process_time()
    for start in range(0, len(queries), at_once):
        group = queries[start : start + at_once]
        for query, numbers in zip(group, index.candidates(group, k, NOTHING), strict=True):
            order = np.argsort(-exact_cosines(query, index.take(numbers)), kind="stable")[:k]
            found.append(numbers[order])
    return np.stack(found), 1e6 * (time.process_time() - started) / len(queries)


def measure(
    name: str, index: Index, scan: Index, queries: np.ndarray, skip: int = 0, ks: tuple[int, ...] = (1, 20)
) -> list[Row]:
    """Recall of `index` compared with `scan`, which has no graphs. `skip`: nearest vectors to ignore (the query)."""
    rows, at_once = [], GROUP if isinstance(index, PromptIndex) else STEP
    for k in ks:
        found, index_us = nearest(index, queries, k + skip, at_once)
        wanted, scan_us = nearest(scan, queries, k + skip, at_once)
        hits = [len(np.intersect1d(a, b)) for a, b in zip(found[:, skip:], wanted[:, skip:], strict=True)]
        rows.append(Row(name, k, sum(hits) / (k * len(queries)), index_us, scan_us))
        print(rows[-1], flush=True)
    return rows


def questions(quick: bool) -> list[Row]:
    """Real questions, all in one graph."""
    stored, asked = train_questions(), [question["question"] for question in solutions()]
    started = time.process_time()
    encoder = HashedEncoder() if quick else SentenceEncoder("all-MiniLM-L6-v2", "cpu")
    vectors, queries = encoder.encode(stored).vectors, encoder.encode(asked).vectors
    print(f"encoded {len(stored) + len(asked)} questions in {time.process_time() - started:.0f} s (CPU)", flush=True)
    index, scan = (PromptIndex(384, len(stored), graph_sizes=GraphSizes(at, NEVER)) for at in (len(stored), NEVER))
    building = fill(index, vectors)
    fill(scan, vectors)
    print(f"built a graph of {len(stored)} in {building:.1f} s (CPU)", flush=True)
    label = f"{encoder.name} {len(stored)} questions"
    return measure(f"{label}, fresh", index, scan, queries) + measure(f"{label}, stored", index, scan, vectors, skip=1)


def efforts() -> None:
    """Print how many of the nearest real questions are found by how many points that a search keeps in view."""
    encoder = HashedEncoder()
    stored = encoder.encode(train_questions()).vectors
    queries = encoder.encode([question["question"] for question in solutions()]).vectors
    index, scan = (PromptIndex(384, len(stored), graph_sizes=GraphSizes(at, NEVER)) for at in (len(stored), NEVER))
    fill(index, stored)
    fill(scan, stored)
    for effort in EFFORTS:
        index.effort = (effort, 0)
        measure(f"{effort} points in view", index, scan, queries)


def clustered(stored: int, inserted: int) -> list[Row]:
    """Vectors in clusters of about a hundred. Only the newest stay."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(inserted // 100, 384))

    def sample(n: int) -> np.ndarray:
        rows = centres[rng.integers(len(centres), size=n)] + 0.7 * rng.normal(size=(n, 384))
        return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)

    sizes = SIZES if stored > SIZES.crossover else GraphSizes(stored // 2, stored // 8)
    index, scan = (PromptIndex(384, stored, graph_sizes=one) for one in (sizes, WITHOUT_GRAPHS))
    building = 0.0
    for start in range(0, inserted, 10_000):
        vectors = sample(min(10_000, inserted - start))
        building += fill(index, vectors)
        fill(scan, vectors)
    covered = [graph.stop - max(graph.start, index.head) for graph in index.graphs]
    unindexed = index.tail - index.indexed
    print(
        f"{inserted} inserted, {stored} stay: graphs of {covered} and {unindexed} outside, {building:.0f} s (CPU)",
        flush=True,
    )
    return measure(f"{stored} clustered after {inserted}", index, scan, sample(2000))


def completions(
    name: str, vectors: np.ndarray, queries: np.ndarray, skip: int = 0, crossover: int | None = None
) -> list[Row]:
    """Vectors stored 128 at a time. At the end one in fifty is removed at random."""
    stored, rng = VectorBlocks(vectors.shape[1]), np.random.default_rng(1)
    sizes = None if crossover is None else GraphSizes(crossover, NEVER)
    index, scan = (CompletionIndex(stored, graph_sizes=one) for one in (sizes, WITHOUT_GRAPHS))
    stored.write(np.arange(len(vectors)), vectors)
    building = 0.0
    for start in range(0, len(vectors), STEP):
        came = np.arange(start, min(start + STEP, len(vectors)))
        for one in (index, scan):
            one.append(came, came)
        if wanted := index.next_graph():
            started = time.process_time()
            index.swap(build(index.vector_range(*wanted), seed=0))
            building += time.process_time() - started
    if not skip:
        left = np.sort(rng.choice(len(vectors), size=len(vectors) // 50, replace=False))
        for one in (index, scan):
            one.drop(left)
    beside = index.count(index.indexed, index.tail)
    print(f"{name}: graphs of {[graph.live for graph in index.graphs]} and {beside} outside, {building:.0f} s (CPU)")
    return measure(name, index, scan, queries, skip, ks=(32,))


def solved(quick: bool) -> list[Row]:
    """The index that `value` reads, with real solutions, copies, and variants."""
    encoder = HashedEncoder() if quick else SentenceEncoder("all-MiniLM-L6-v2", "cpu")
    vectors = encoder.encode([rollout["completion"] for rollout in rollouts()]).vectors
    rng = np.random.default_rng(0)
    vectors = vectors[rng.permutation(len(vectors))]
    copied = np.concatenate([vectors, np.repeat(vectors[:5], 500, axis=0)])
    copied = copied[rng.permutation(len(copied))]
    rows = completions(f"{encoder.name} {len(vectors)} solutions", vectors, vectors, skip=1, crossover=len(vectors))
    rows += completions(f"{encoder.name} {len(copied)}, copies", copied, vectors[::4], crossover=len(copied))

    def varied(n: int) -> np.ndarray:
        noise = rng.normal(size=(n, vectors.shape[1])).astype(np.float32)
        near = vectors[rng.integers(len(vectors), size=n)] + 0.48 * noise / np.linalg.norm(noise, axis=1, keepdims=True)
        return np.asarray(near / np.linalg.norm(near, axis=1, keepdims=True))

    asked = varied(10 * STEP)
    for count in (4_096,) if quick else (8_192, 16_384, 32_768):
        rows += completions(f"{count} varied, in one graph", varied(count), asked, crossover=count)
    for count in (10_000,) if quick else (10_000, 50_000, 100_000):
        rows += completions(f"{count} varied", varied(count), asked)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description="Recall of the indices against brute force.")
    parser.add_argument("--quick", action="store_true", help="smaller, without the model")
    parser.add_argument("--completions", action="store_true", help="completions only")
    parser.add_argument("--efforts", action="store_true", help="efforts only")
    asked = parser.parse_args()
    if asked.efforts:
        efforts()
        return
    rows = []
    if not asked.completions:
        rows += questions(asked.quick)
        for stored, inserted in ((10_000, 25_000),) if asked.quick else ((50_000, 130_000), (100_000, 160_000)):
            rows += clustered(stored, inserted)
    rows += solved(asked.quick)
    print(f"\n{'':48} {'k':>3} {'recall':>8} {'':7} {'us/query':>9} {'scan us':>9}")
    print(*rows, sep="\n")
    sys.exit(any(row.recall < FLOOR for row in rows))


if __name__ == "__main__":
    main()
