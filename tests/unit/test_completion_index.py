"""The nearest completions against brute force: evictions in any order, graphs, requests that evict, files, copies."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from memr_service.encoder.hashed import hashed_vectors
from memr_service.memory import CompletionIndex, GraphSizes, Memory, VectorBlocks, View
from memr_service.memory.cosine import exact_cosines
from memr_service.memory.hnsw import build
from memr_service.memory.neighbours import most_similar
from memr_service.memory.reading import held_items
from support.batches import DIMENSION, make_batch, unit_rows
from support.cases import slow_after
from support.real_data import rollouts

NOTHING = np.empty(0, np.int64)
SMALL = GraphSizes(24, 8)


class Stored:
    """Completions that come and go, in rows that are used again; and a plain copy: number -> vector."""

    def __init__(self, dimension: int = DIMENSION, storage: str = "float32", sizes: GraphSizes | None = None) -> None:
        self.rows = VectorBlocks(dimension, storage)
        self.index = CompletionIndex(self.rows, 1e-5 if storage == "float32" else 1e-3, sizes)
        self.plain: dict[int, np.ndarray] = {}
        self.free: list[int] = []
        self.used = 0

    def write(self, numbers: np.ndarray, vectors: np.ndarray) -> None:
        rows = [self.free.pop() if self.free else self.used + more for more in range(len(numbers))]
        self.used = max([self.used, *(row + 1 for row in rows)])
        self.rows.write(np.array(rows, np.int64), vectors)
        self.index.append(numbers, np.array(rows, np.int64))
        self.plain |= dict(zip(numbers.tolist(), vectors, strict=True))

    def drop(self, numbers: np.ndarray) -> None:
        self.free += self.index.rows(numbers).tolist()
        self.index.drop(numbers)
        for number in numbers.tolist():
            del self.plain[number]

    def grow(self) -> None:
        """Build the graph that is wanted and take it into use."""
        if wanted := self.index.next_graph():
            self.index.swap(build(self.index.vector_range(*wanted), seed=0))

    def found(self, queries: np.ndarray, k: int, gone: np.ndarray = NOTHING) -> list[list[int]]:
        """The k nearest of the candidates, as a view picks them."""
        found = []
        for query, numbers in zip(queries, self.index.candidates(queries, k, gone), strict=True):
            assert len(np.unique(numbers)) == len(numbers)
            numbers = np.sort(numbers)
            order = np.argsort(-exact_cosines(query, self.index.take(numbers)), kind="stable")[:k]
            found.append(numbers[order].tolist())
        return found

    def wanted(self, queries: np.ndarray, k: int, gone: np.ndarray = NOTHING) -> list[list[int]]:
        """The k nearest of all; of equally near ones the older."""
        numbers = np.array(sorted(self.plain.keys() - set(gone.tolist())), np.int64)
        vectors = np.array([self.plain[number] for number in numbers.tolist()]).reshape(-1, queries.shape[1])
        cosines = [exact_cosines(query, vectors) for query in queries]
        return [numbers[np.argsort(-row, kind="stable")[:k]].tolist() for row in cosines]


@pytest.mark.slow
@pytest.mark.parametrize("storage", ["float32", pytest.param("float16", marks=pytest.mark.slow)])
@pytest.mark.parametrize("sizes", [SMALL, pytest.param(None, marks=pytest.mark.slow)])
def test_the_nearest_are_found_whatever_left(storage: str, sizes: GraphSizes | None) -> None:
    rng = np.random.default_rng(0)
    stored, queries = Stored(storage=storage, sizes=sizes), unit_rows(rng, 12, storage=storage)
    next_number = 0
    for turn in range(80):
        came = next_number + np.flatnonzero(rng.random(16) < 0.6)  # the others went to the other memory
        next_number += 16
        stored.write(came, unit_rows(rng, len(came), storage=storage))
        there = np.array(sorted(stored.plain))
        stored.drop(np.sort(rng.choice(there, size=int(len(there) * (0.2 if turn % 9 == 8 else 0.02)), replace=False)))
        stored.grow()
        there = np.array(sorted(stored.plain))
        gone = np.sort(rng.choice(there, size=min(len(there), 5), replace=False))
        for k in (1, 7, 500):
            assert stored.found(queries, k) == stored.wanted(queries, k)
            assert stored.found(queries, k, gone) == stored.wanted(queries, k, gone)
    assert bool(stored.index.graphs) == (sizes is not None)


def test_graphs_do_not_overlap_and_hold_all_but_the_newest() -> None:
    rng = np.random.default_rng(1)
    stored = Stored(sizes=SMALL)
    most = 0
    for turn in range(300):
        stored.write(np.arange(4 * turn, 4 * turn + 4), unit_rows(rng, 4))
        if turn > 60:
            stored.drop(np.sort(rng.choice(np.array(sorted(stored.plain)), size=4, replace=False)))
        stored.grow()
        graphs = stored.index.graphs
        assert all(one.stop <= other.start for one, other in pairwise(graphs))
        beside = stored.index.count(stored.index.indexed, stored.index.tail)
        assert sum(graph.live for graph in graphs) + beside == len(stored.plain)
        most = max(most, len(graphs))
    assert 3 <= most <= 10  # twice log2(240 / 8): old graphs that lost much may wait behind a larger one


def test_a_graph_swapped_in_late_does_not_return_what_left_or_came_meanwhile() -> None:
    rng = np.random.default_rng(2)
    stored = Stored(sizes=SMALL)
    stored.write(np.arange(100), unit_rows(rng, 100))
    graph = build(stored.index.vector_range(0, 100), seed=0)
    stored.drop(np.arange(0, 100, 3))
    stored.write(np.arange(100, 140), unit_rows(rng, 40))  # into rows of which the graph knows others
    stored.index.swap(graph)
    queries = unit_rows(rng, 20)
    assert stored.found(queries, 9) == stored.wanted(queries, 9)
    assert graph.live == len(graph.numbers) - 34


def test_a_graph_of_which_everything_left_is_given_up() -> None:
    rng = np.random.default_rng(3)
    stored = Stored(sizes=SMALL)
    stored.write(np.arange(30), unit_rows(rng, 30))
    stored.grow()
    stored.write(np.arange(30, 40), unit_rows(rng, 10))
    assert stored.index.graphs
    stored.drop(np.arange(30))
    assert not stored.index.graphs
    queries = unit_rows(rng, 3)
    assert stored.found(queries, 4) == stored.wanted(queries, 4)


def test_a_request_that_evicts_most_of_what_is_near_still_finds_what_stays() -> None:
    rng = np.random.default_rng(4)
    near = unit_rows(rng, 1)
    vectors = np.concatenate([near + 0.05 * unit_rows(rng, 900), unit_rows(rng, 300)])
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    stored = Stored(sizes=SMALL)
    stored.write(np.arange(1200), vectors)
    stored.grow()
    gone = np.arange(890)
    assert stored.found(near, 32, gone) == stored.wanted(near, 32, gone)


@pytest.mark.parametrize("noise", slow_after(0, [0.0, 1e-7]))
def test_hundreds_of_copies_of_a_few_texts_hide_nothing(noise: float) -> None:
    rng = np.random.default_rng(5)
    texts = [rollout["completion"] for rollout in rollouts()][:800]
    said = hashed_vectors(texts)
    copies = np.repeat(said[:5], 400, axis=0)
    copies = copies + noise * rng.normal(size=copies.shape)
    copies /= np.linalg.norm(copies, axis=1, keepdims=True)
    vectors = np.concatenate([said, copies.astype(np.float32)])
    vectors = vectors[rng.permutation(len(vectors))]
    stored = Stored(said.shape[1], sizes=GraphSizes(len(vectors), 10_000))
    stored.write(np.arange(len(vectors)), vectors)
    stored.grow()
    (graph,) = stored.index.graphs
    assert graph.live == len(vectors)
    queries = said[::10]
    hits = 0
    for query, numbers in zip(queries, stored.found(queries, 32), strict=True):
        least = np.sort(vectors.astype(np.float64) @ query)[-32]
        hits += int((vectors[numbers].astype(np.float64) @ query >= least - 1e-6).sum())
    assert hits >= 0.99 * 32 * len(queries)


def test_a_point_stays_until_its_last_copy_has_left() -> None:
    rng = np.random.default_rng(6)
    vectors = unit_rows(rng, 40)
    stored = Stored(sizes=SMALL)
    stored.write(np.arange(120), np.concatenate([vectors, vectors, vectors]))
    stored.grow()
    for gone in (np.arange(40), np.arange(80, 120), np.arange(40, 79)):
        assert stored.found(vectors, 5) == stored.wanted(vectors, 5)
        stored.drop(gone)
    assert stored.found(vectors, 5) == stored.wanted(vectors, 5) == [[79]] * 40


@pytest.mark.slow
def test_recall_on_real_solutions_is_at_least_99_per_cent() -> None:
    vectors = hashed_vectors([rollout["completion"] for rollout in rollouts()][::2])
    stored = Stored(vectors.shape[1], sizes=GraphSizes(len(vectors), 8_192))
    stored.write(np.arange(len(vectors)), vectors)
    stored.grow()
    queries, hits = vectors[::10], 0
    for query, numbers in zip(queries, stored.found(queries, 32), strict=True):
        cosines = vectors.astype(np.float64) @ query
        hits += int((cosines[numbers] >= np.sort(cosines)[-32] - 1e-6).sum())
    assert hits >= 0.99 * 32 * len(queries)


def test_a_saved_graph_with_copies_answers_as_the_one_in_memory(tmp_path: Path) -> None:
    rng = np.random.default_rng(7)
    vectors = unit_rows(rng, 60)
    vectors[30:] = vectors[:30]
    stored, file = Stored(sizes=SMALL), tmp_path / "graph.hnsw"
    stored.write(np.arange(60), vectors)
    build(stored.index.vector_range(0, 60), seed=0).save(file)
    stored.grow()
    stored.drop(np.array([0, 1, 31, 45]))  # of some copies one left, of others both
    queries = unit_rows(rng, 20)
    before = [one.tolist() for one in stored.index.candidates(queries, 9, NOTHING)]
    loaded = stored.index.load(0, 60, file)
    assert loaded is not None
    stored.index.graphs.clear()
    stored.index.swap(loaded)
    assert [one.tolist() for one in stored.index.candidates(queries, 9, NOTHING)] == before


def test_a_file_of_other_completions_is_no_graph_of_these(tmp_path: Path) -> None:
    rng = np.random.default_rng(8)
    stored, file = Stored(sizes=SMALL), tmp_path / "graph.hnsw"
    stored.write(np.arange(0, 60, 2), unit_rows(rng, 30))
    build(stored.index.vector_range(0, 60), seed=0).save(file)
    assert stored.index.load(0, 60, file) is not None
    assert stored.index.load(0, 58, file) is None
    assert stored.index.load(2, 60, file) is None
    stored.write(np.array([60]), unit_rows(rng, 1))
    assert stored.index.load(0, 61, file) is None
    other = Stored(sizes=SMALL)
    other.write(np.arange(0, 60, 2), unit_rows(rng, 30))
    assert other.index.load(0, 60, file) is None


@pytest.mark.slow
@pytest.mark.parametrize("storage", ["float32", "float16"])
def test_a_view_finds_the_same_with_graphs_and_without_while_everything_is_evicted(storage: str) -> None:
    rng = np.random.default_rng(9)
    memories = [Memory(DIMENSION, 12, 9, storage, indexed=True, graph_sizes=sizes) for sizes in (None, SMALL)]
    said, serial = unit_rows(rng, 60, storage=storage), 0
    for _ in range(120):
        n = int(rng.integers(1, 20))
        rows = np.where(rng.random((n, 1)) < 0.3, said[rng.integers(60, size=n)], unit_rows(rng, n, storage=storage))
        names = [f"prompt {one}" for one in rng.integers(20, size=n)]
        batch = make_batch(names, rows, rng.normal(size=n).tolist(), storage=storage)
        found = []
        for memory in memories:
            view = View(memory, batch.completions)
            read = most_similar(view, batch.completions, np.full(n, -1), batch.outcomes, 32)
            writes = view.write_all(np.arange(n), batch.keys, batch.prompts[batch.prompt_of])
            held = most_similar(view, batch.completions, held_items(view, batch.keys), batch.outcomes, 32)
            found.append(np.stack([*read, *held]))
            prompts, serials = batch.prompts[batch.prompt_of], serial + np.arange(n)
            memory.apply(writes, batch.keys, prompts, batch.completions, serials, batch.outcomes)
            assert memory.index is not None
            if wanted := memory.index.next_graph():
                memory.index.swap(build(memory.index.vector_range(*wanted), seed=0))
        np.testing.assert_array_equal(*found)
        serial += n
    assert [bool(memory.index and memory.index.graphs) for memory in memories] == [False, True]
