"""The nearest prompts against brute force: exact search, graphs, eviction, swaps and files."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import CancelledError
from pathlib import Path
from threading import Event

import numpy as np
import pytest
from memr_service.encoder.hashed import hashed_vectors
from memr_service.memory import GraphSizes, PromptIndex, VectorBlocks
from memr_service.memory.cosine import exact_cosines
from memr_service.memory.hnsw import Graph, VectorRange, build
from memr_service.memory.index import nearest as among_nearest
from support.batches import unit_rows
from support.real_data import solutions, train_questions

D = 16


def fill(index: PromptIndex, vectors: np.ndarray, *, graphs: bool = True) -> None:
    """Append vectors, the oldest leaving when it is full, each graph being built and swapped in when it is wanted."""
    for vector in vectors:
        if index.tail - index.head == index.capacity:
            index.drop_first()
        index.append(vector)
        if graphs and (wanted := index.next_graph()):
            index.swap(build(index.vector_range(*wanted), seed=0))


def graph_of(vectors: np.ndarray, start: int, stop: int) -> Graph:
    """A graph over vectors[start:stop]."""
    rows, numbers = VectorBlocks(vectors.shape[1]), np.arange(start, stop)
    rows.write(numbers, vectors[start:stop])
    return build(VectorRange(start, stop, numbers, rows, numbers, 1e-5), seed=0)


def nearest(index: PromptIndex, queries: np.ndarray, k: int, head: int | None = None) -> list[list[int]]:
    """The k nearest among the candidates, as a view picks them."""
    found = []
    gone = np.arange(index.head, index.head if head is None else head)
    for query, numbers in zip(queries, index.candidates(queries, k, gone), strict=True):
        assert len(np.unique(numbers)) == len(numbers)
        numbers = np.sort(numbers)
        order = np.argsort(-exact_cosines(query, index.take(numbers)), kind="stable")[:k]
        found.append(numbers[order].tolist())
    return found


def brute_force(vectors: np.ndarray, queries: np.ndarray, k: int, head: int, tail: int) -> list[list[int]]:
    """The k nearest of vectors[head:tail] by sorting them all; ties go to the earlier one."""
    stored = vectors[head:tail].astype(np.float64)
    stored /= np.linalg.norm(stored, axis=1, keepdims=True)
    found = []
    for query in queries.astype(np.float64):
        cosines = [float(np.sum(row * query)) for row in stored]
        found.append([head + place for place in sorted(range(tail - head), key=lambda at: (-cosines[at], at))[:k]])
    return found


def recall(found: list[list[int]], wanted: list[list[int]]) -> float:
    return sum(len(set(a) & set(b)) for a, b in zip(found, wanted, strict=True)) / sum(len(b) for b in wanted)


@pytest.mark.slow
@pytest.mark.parametrize("storage", ["float32", "float16"])
def test_exact_search_is_brute_force_over_a_ring_that_wraps(storage: str) -> None:
    rng = np.random.default_rng(0)
    vectors = unit_rows(rng, 250, D, storage)
    index = PromptIndex(D, 60) if storage == "float32" else PromptIndex(D, 60, 1e-3)
    queries = unit_rows(rng, 20, D, storage)
    for start in range(0, 250, 10):
        fill(index, vectors[start : start + 10])
        for k in (1, 7, 100):
            assert nearest(index, queries, k) == brute_force(vectors, queries, k, index.head, index.tail)


def test_of_equally_near_prompts_the_one_stored_earlier_comes_first() -> None:
    rng = np.random.default_rng(1)
    places = unit_rows(rng, 5, D)
    vectors = places[rng.integers(5, size=90)]
    index = PromptIndex(D, 40)
    fill(index, vectors)
    for k in (1, 3, 9, 40):
        assert nearest(index, places, k) == brute_force(vectors, places, k, 50, 90)


def test_more_prompts_than_there_are_is_all_of_them_and_none_of_an_empty_memory() -> None:
    index = PromptIndex(D, 10)
    assert nearest(index, np.ones((2, D), np.float32), 3) == [[], []]
    fill(index, unit_rows(np.random.default_rng(2), 4, D))
    assert sorted(nearest(index, np.ones((1, D), np.float32), 9)[0]) == [0, 1, 2, 3]


def test_a_search_from_a_later_head_leaves_out_what_is_about_to_go() -> None:
    rng = np.random.default_rng(3)
    vectors, queries = unit_rows(rng, 120, D), unit_rows(rng, 10, D)
    for index in (PromptIndex(D, 50), PromptIndex(D, 50, graph_sizes=GraphSizes(16, 8))):
        fill(index, vectors)
        for head in (71, 95, 119, 120):
            assert nearest(index, queries, 5, head) == brute_force(vectors, queries, 5, head, 120)


def test_a_graph_is_taken_over_by_the_next_unless_it_is_more_than_four_times_larger() -> None:
    index = PromptIndex(D, 10_000, graph_sizes=GraphSizes(32, 8))
    sizes = []
    for vector in unit_rows(np.random.default_rng(4), 80, D):
        fill(index, vector[None])
        now = [graph.stop - graph.start for graph in index.graphs]
        if not sizes or sizes[-1] != now:
            sizes.append(now)
        assert index.tail - index.indexed < (8 if index.graphs else 32)
    assert sizes == [[], [32], [40], [40, 8], [56], [56, 8], [72], [72, 8]]


def test_graphs_never_overlap_and_cover_all_but_the_newest_whatever_is_evicted() -> None:
    for capacity in (20, 33, 48, 100):
        index = PromptIndex(D, capacity, graph_sizes=GraphSizes(16, 8))
        for vector in unit_rows(np.random.default_rng(5), 400, D):
            fill(index, vector[None])
            covered = [number for graph in index.graphs for number in range(max(graph.start, index.head), graph.stop)]
            assert covered == list(range(index.head, index.indexed)) or not index.graphs
            assert len(index.graphs) <= 3


@pytest.mark.slow
def test_graphs_find_the_same_as_brute_force_while_prompts_come_and_go() -> None:
    rng = np.random.default_rng(6)
    vectors, queries = unit_rows(rng, 900, D), unit_rows(rng, 15, D)
    index = PromptIndex(D, 150, graph_sizes=GraphSizes(40, 20))
    found, wanted = [], []
    for start in range(0, 900, 30):
        fill(index, vectors[start : start + 30])
        found += nearest(index, queries, 5)
        wanted += brute_force(vectors, queries, 5, index.head, index.tail)
    assert index.graphs
    assert recall(found, wanted) == 1


def test_a_graph_swapped_in_late_does_not_return_what_left_meanwhile() -> None:
    rng = np.random.default_rng(7)
    vectors = unit_rows(rng, 200, D)
    index = PromptIndex(D, 100, graph_sizes=GraphSizes(50, 25))
    fill(index, vectors[:100], graphs=False)
    graph = build(index.vector_range(0, 100), seed=0)
    fill(index, vectors[100:160], graphs=False)
    index.swap(graph)
    assert nearest(index, vectors[:160], 3) == brute_force(vectors, vectors[:160], 3, 60, 160)
    fill(index, vectors[160:], graphs=False)
    assert index.graphs == []


def test_a_graph_of_prompts_that_all_left_is_not_taken_into_use() -> None:
    vectors = unit_rows(np.random.default_rng(8), 60, D)
    index = PromptIndex(D, 20)
    fill(index, vectors[:20])
    graph = build(index.vector_range(0, 20), seed=0)
    fill(index, vectors[20:])
    index.swap(graph)
    assert index.graphs == []


def test_a_merged_graph_replaces_one_that_lost_prompts_before_it_was_begun() -> None:
    vectors = unit_rows(np.random.default_rng(9), 60, D)
    index = PromptIndex(D, 40, graph_sizes=GraphSizes(32, 8))
    fill(index, vectors[:32])
    fill(index, vectors[32:], graphs=False)
    wanted = index.next_graph()
    assert wanted == (20, 60)
    index.swap(build(index.vector_range(*wanted), seed=0))
    assert [(graph.start, graph.stop) for graph in index.graphs] == [(20, 60)]
    assert nearest(index, vectors[20:], 40) == brute_force(vectors, vectors[20:], 40, 20, 60)


class Disconnected:
    """A graph that finds nothing, as hnswlib's may when most of it is deleted."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.asked = 0

    def get_current_count(self) -> int:
        return self.count

    def set_ef(self, ef: int) -> None:
        pass

    def knn_query(self, queries: np.ndarray, k: int, num_threads: int) -> None:
        self.asked += 1
        raise RuntimeError("Cannot return the results in a contiguous 2D array. Probably ef or M is too small")


def test_a_graph_that_cannot_return_enough_is_scanned() -> None:
    vectors = unit_rows(np.random.default_rng(10), 50, D)
    index = PromptIndex(D, 50)
    fill(index, vectors)
    graph = Disconnected(40)
    index.swap(Graph(0, 40, graph, np.arange(40), np.arange(40), np.zeros(40, np.int64)))
    assert nearest(index, vectors, 4) == brute_force(vectors, vectors, 4, 0, 50)
    assert graph.asked == 1


def test_a_graph_with_fewer_prompts_left_than_asked_for_is_scanned() -> None:
    vectors = unit_rows(np.random.default_rng(11), 75, D)
    index = PromptIndex(D, 50, graph_sizes=GraphSizes(40, 100))
    fill(index, vectors[:50])
    fill(index, vectors[50:], graphs=False)
    assert index.graphs
    assert nearest(index, vectors[25:], 50) == brute_force(vectors, vectors[25:], 50, 25, 75)


@pytest.mark.parametrize("k", [1, 20])
def test_a_request_that_evicts_most_of_a_graph_still_finds_what_stays(k: int) -> None:
    rng = np.random.default_rng(12)
    vectors = unit_rows(rng, 2000, D)
    # everything near the query is about to go
    vectors[:1500] = vectors[:1500] * 0.2 + vectors[0]
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    index = PromptIndex(D, 2000, graph_sizes=GraphSizes(2000, 4096))
    fill(index, vectors)
    assert index.graphs
    queries = np.stack([vectors[0], vectors[1700]])
    assert nearest(index, queries, k, 1500) == brute_force(vectors, queries, k, 1500, 2000)


def test_a_saved_graph_answers_as_the_one_in_memory(tmp_path: Path) -> None:
    rng = np.random.default_rng(13)
    vectors, queries = unit_rows(rng, 500, D), unit_rows(rng, 50, D)
    index = PromptIndex(D, 300, graph_sizes=GraphSizes(100, 10_000))
    fill(index, vectors[:300])
    (graph,) = index.graphs
    file = tmp_path / "graph.hnsw"
    graph_of(vectors, graph.start, graph.stop).save(file)
    fill(index, vectors[300:350])
    loaded = index.load(graph.start, graph.stop, file)
    assert loaded is not None
    before = index.candidates(queries, 7, np.empty(0, np.int64))
    index.graphs.clear()
    index.swap(loaded)
    after = index.candidates(queries, 7, np.empty(0, np.int64))
    assert [row.tolist() for row in after] == [row.tolist() for row in before]


def damaged(whole: bytes) -> Iterator[bytes]:
    """Cut short anywhere, too long, or with a byte changed."""
    yield b""
    for size in range(1, len(whole), len(whole) // 40):
        yield whole[:size]
    yield whole + b"\0"
    for place in [*range(0, 100), *range(100, len(whole), len(whole) // 100)]:
        yield whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :]


def test_a_file_that_is_missing_or_damaged_is_no_graph(tmp_path: Path) -> None:
    vectors = unit_rows(np.random.default_rng(14), 30, D)
    index, file = PromptIndex(D, 30), tmp_path / "graph.hnsw"
    fill(index, vectors)
    assert index.load(0, 30, file) is None
    graph_of(vectors, 0, 30).save(file)
    assert index.load(0, 30, file) is not None
    whole = file.read_bytes()
    for bad in damaged(whole):
        file.write_bytes(bad)
        assert index.load(0, 30, file) is None
    file.write_bytes(whole)
    assert index.load(0, 30, file) is not None


def test_a_file_of_other_prompts_is_no_graph_of_these(tmp_path: Path) -> None:
    rng = np.random.default_rng(17)
    vectors, file = unit_rows(rng, 40, D), tmp_path / "graph.hnsw"
    index = PromptIndex(D, 40)
    fill(index, vectors)
    graph_of(vectors, 0, 30).save(file)
    assert index.load(0, 30, file) is not None
    for start, stop in [(0, 31), (0, 29), (1, 30), (5, 20)]:
        assert index.load(start, stop, file) is None
    other = PromptIndex(D, 40)
    fill(other, np.concatenate([vectors[:29], unit_rows(rng, 11, D)]))
    assert other.load(0, 30, file) is None
    flat = PromptIndex(D // 2, 40)
    fill(flat, unit_rows(rng, 40, D // 2))
    assert flat.load(0, 30, file) is None


def test_a_file_of_prompts_that_left_is_still_the_graph_of_those_that_stay(tmp_path: Path) -> None:
    vectors, file = unit_rows(np.random.default_rng(18), 60, D), tmp_path / "graph.hnsw"
    index = PromptIndex(D, 40)
    fill(index, vectors[:40])
    graph_of(vectors, 0, 40).save(file)
    fill(index, vectors[40:])
    graph = index.load(0, 40, file)
    assert graph is not None
    index.swap(graph)
    assert nearest(index, vectors, 3) == brute_force(vectors, vectors, 3, 20, 60)


def test_a_graph_of_nothing_can_be_built_for_a_history_in_which_all_of_it_left() -> None:
    index = PromptIndex(D, 5)
    fill(index, unit_rows(np.random.default_rng(19), 20, D))
    index.swap(build(index.vector_range(0, 10), seed=0))
    assert index.graphs == []


def test_a_graph_is_a_function_of_its_range() -> None:
    vectors = unit_rows(np.random.default_rng(15), 400, D)
    queries = unit_rows(np.random.default_rng(16), 40, D)
    answers = []
    for _ in range(2):
        index = PromptIndex(D, 300, graph_sizes=GraphSizes(100, 30))
        fill(index, vectors)
        answers.append([row.tolist() for row in index.candidates(queries, 10, np.empty(0, np.int64))])
    assert answers[0] == answers[1]


@pytest.mark.slow
def test_recall_on_real_questions_is_at_least_99_per_cent() -> None:
    stored = hashed_vectors(train_questions())
    index = PromptIndex(stored.shape[1], len(stored), graph_sizes=GraphSizes(len(stored), 4096))
    fill(index, stored)
    assert [(graph.start, graph.stop) for graph in index.graphs] == [(0, 7473)]
    fresh = hashed_vectors([question["question"] for question in solutions()[::3]])
    for queries, skip in ((fresh, 0), (stored[::15], 1)):  # of a stored question the nearest is itself: left out
        cosines = queries @ stored.T
        for k in (1, 20):
            found = [one[skip:] for one in nearest(index, queries, k + skip)]
            wanted = [one[skip:] for one in np.argsort(-cosines, axis=1)[:, : k + skip].tolist()]
            assert recall(found, wanted) >= 0.99


def test_a_graph_that_is_given_up_is_not_built() -> None:
    index, given_up = PromptIndex(D, 50), Event()
    fill(index, unit_rows(np.random.default_rng(12), 50, D))
    given_up.set()
    with pytest.raises(CancelledError):
        build(index.vector_range(0, 50), seed=0, given_up=given_up)


@pytest.mark.parametrize("k", range(1, 9))
def test_the_nearest_of_each_row_and_all_that_tie_with_them(k: int) -> None:
    rng = np.random.default_rng(k)
    for length in (1, 3, 4, 5, 20):
        cosines = rng.integers(4, size=(50, length)).astype(np.float32)
        floors = [sorted(row, reverse=True)[min(k, length) - 1] for row in cosines.tolist()]
        assert (among_nearest(cosines, k, 0.5) == (cosines >= np.array(floors)[:, None])).all()
        assert (among_nearest(cosines[0], k, 0.5) == (cosines[0] >= floors[0])).all()


def test_what_is_about_to_be_stored_is_found_as_well() -> None:
    vectors = unit_rows(np.random.default_rng(8), 40)
    for graphs in (False, True):
        index = PromptIndex(vectors.shape[1], 100, graph_sizes=GraphSizes(8, 4))
        fill(index, vectors[:30], graphs=graphs)
        coming = [(np.arange(30, 40), vectors[30:])]
        found = index.candidates(vectors, 1, np.empty(0, np.int64), coming)
        assert all(number in numbers for number, numbers in enumerate(found))


def test_queries_find_together_what_each_finds_alone() -> None:
    rng = np.random.default_rng(31)
    vectors, queries = unit_rows(rng, 260, D), unit_rows(rng, 12, D)
    vectors[60:90] = vectors[60]  # copies share a point
    queries[3] = vectors[60]
    index = PromptIndex(D, 200, graph_sizes=GraphSizes(100, 30))
    fill(index, vectors)
    assert len(index.graphs) > 0
    for k in (1, 5):
        together = nearest(index, queries, k, index.head + 3)
        assert together == [nearest(index, query[None], k, index.head + 3)[0] for query in queries]
        assert together == brute_force(vectors, queries, k, index.head + 3, 260)


class Asked(Disconnected):
    """A graph that notes how many points its searches keep in view."""

    def set_ef(self, ef: int) -> None:
        self.ef = ef


def test_a_small_graph_beside_a_large_one_is_searched_with_half_the_effort() -> None:
    vectors = unit_rows(np.random.default_rng(32), 100, D)
    index = PromptIndex(D, 100)
    fill(index, vectors)
    large, small = Asked(90), Asked(10)
    for start, stop, hnsw in ((0, 90, large), (90, 100, small)):
        numbers = np.arange(start, stop)
        index.swap(Graph(start, stop, hnsw, numbers, numbers.copy(), np.zeros(len(numbers), np.int64)))
    assert nearest(index, vectors[:4], 2) == brute_force(vectors, vectors[:4], 2, 0, 100)
    least, _ = index.effort
    assert (large.ef, small.ef) == (least, least // 2)
