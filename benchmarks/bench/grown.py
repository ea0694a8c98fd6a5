"""A store with a large run: N prompts with one completion each, in one memory, with their graphs.

The state is put into the store as the snapshot at which a bounded journal begins. Scoring and indexing a million
requests would take an hour, and would only build other graphs of the same quality.
"""

from __future__ import annotations

from dataclasses import dataclass

import hnswlib
import numpy as np
from memr_client.schemas import RunConfig
from memr_service.memory import Memory, PromptIndex, Writes
from memr_service.memory.hnsw import Graph, VectorRange, fingerprints
from memr_service.run.presets import resolve
from memr_service.state.law import LAW
from memr_service.state.state import State
from memr_service.store import open_store
from memr_service.store.base import Snapshot, restored

RUN, D = "grown", 384
CLUSTER, SPREAD = 100, 0.7
"""Prompts per topic, and their distance from it: their cosine is 0.67, as between nearest questions of GSM8K."""
AT_ONCE = 8192


class Questions:
    """An endless sequence of unit vectors in clusters. `seed` selects the sample; the topics are the same."""

    def __init__(self, topics: int, seed: int) -> None:
        self._topics = np.random.default_rng(0).standard_normal((topics, D), np.float32)
        self._rng = np.random.default_rng(seed)

    def take(self, n: int) -> np.ndarray:
        """The next n (n, 384)."""
        topics = self._topics[self._rng.integers(len(self._topics), size=n)]
        return unit(topics + np.float32(SPREAD) * self._rng.standard_normal((n, D), np.float32))

    def answers(self, prompts: np.ndarray) -> np.ndarray:
        """A completion for each of the prompts (n, 384)."""
        return unit(prompts + 0.8 * unit(self._rng.standard_normal(prompts.shape, np.float32)))


def unit(rows: np.ndarray) -> np.ndarray:
    """Rows (n, d) of unit length."""
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


def name(number: int) -> str:
    """The text of a stored prompt."""
    return f"Question {number}: how many apples are left?"


def questions(n: int, seed: int) -> Questions:
    """New questions about the topics of a store with n prompts."""
    return Questions(max(n // CLUSTER, 10), seed)


def store(url: str, n: int, keys: list[bytes]) -> None:
    """Put a run with n prompts, identified by `keys`, into a store."""
    config = resolve(RunConfig(preset="memory-r+", max_prompts=n, explore_warmup_steps=0), "memory-r+", "hashed")
    state = State(config)
    state.memories = state.memories_for(D)
    fill(state.memories["success"], questions(n, seed=1), keys)
    state.serial, state.stepless = n, n
    where = open_store(url)
    graphs = [built(state.memories["success"].prompts.vector_range(start, stop)) for start, stop in grown(n)]
    state.memories["success"].prompts.graphs = graphs
    base = Snapshot(0, 1, state.freeze())
    run = restored(
        where.runs.restore(RUN, config.model_dump_json(), LAW, None, "2026-01-01T00:00:00.000+00:00", [], base)
    )
    for graph in graphs:
        where.index_files.save(run.uid, f"success-{graph.start}-{graph.stop}.hnsw", graph.save)
    where.close()


def fill(memory: Memory, source: Questions, keys: list[bytes]) -> None:
    """Write one completion under each of new prompts."""
    for start in range(0, len(keys), AT_ONCE):
        here = keys[start : start + AT_ONCE]
        prompts = source.take(len(here))
        writes = Writes.of([(item, start + item, False, False) for item in range(len(here))])
        serials = start + np.arange(len(here))
        memory.apply(writes, here, prompts, source.answers(prompts), serials, np.ones(len(here)))


@dataclass
class Range:
    """A graph that has only a range."""

    start: int
    stop: int

    @property
    def live(self) -> int:
        """Number of its vectors."""
        return self.stop - self.start


def grown(n: int) -> list[tuple[int, int]]:
    """The ranges of the graphs of n prompts, if 64 prompts come at a time and each graph is built immediately."""
    index = PromptIndex(D, n)
    for index.tail in range(0, n + 1, 64):
        if wanted := index.next_graph():
            kept = [graph for graph in index.graphs if graph.stop <= wanted[0]]
            index.graphs = [*kept, Range(*wanted)]  # type: ignore[list-item]
    return [(graph.start, graph.stop) for graph in index.graphs]


def built(stretch: VectorRange) -> Graph:
    """A graph built like the service's, but by all cores, so it is another graph of the same quality."""
    hnsw = hnswlib.Index(space="ip", dim=D)
    hnsw.init_index(max_elements=len(stretch.numbers), M=16, ef_construction=100)
    hnsw.add_items(stretch.vectors, stretch.numbers)
    prints = fingerprints(stretch.vectors)
    return Graph(stretch.start, stretch.stop, hnsw, stretch.numbers, stretch.numbers.copy(), prints)
