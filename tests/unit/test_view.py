"""A view against plain lists: writes that are only staged, and what each item reads."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import pytest
from memr_service.memory import GraphSizes, Memory, View, Writes, reading
from memr_service.memory.cosine import Vectors, pair_cosines
from memr_service.memory.hnsw import build
from memr_service.state.record import Batch
from support.batches import DIMENSION, PlainMemory, key, make_batch, random_batch, unit_rows
from support.cases import slow_after


class Written:
    """A memory with a history, and plain lists of the same."""

    def __init__(self, max_prompts: int, max_completions: int, graph_sizes: GraphSizes | None = None) -> None:
        self.memory = Memory(DIMENSION, max_prompts, max_completions, graph_sizes=graph_sizes)
        self.plain = PlainMemory(max_prompts, max_completions)
        self.serial = 0

    def stage(self, batch: Batch, items: np.ndarray) -> tuple[View, Writes]:
        view = View(self.memory, batch.completions)
        return view, view.write_all(items, batch.keys, batch.prompts[batch.prompt_of])

    def write(self, batch: Batch, items: np.ndarray, writes: Writes | None = None) -> None:
        prompts = batch.prompts[batch.prompt_of]
        writes = writes or self.stage(batch, items)[1]
        serials = np.arange(self.serial, self.serial + len(batch))
        self.memory.apply(writes, batch.keys, prompts, batch.completions, serials, batch.outcomes)
        self.write_plainly(batch, items)
        self.serial += len(batch)

    def write_plainly(self, batch: Batch, items: np.ndarray) -> None:
        for item in items.tolist():
            self.plain.write(batch.keys[item], batch.prompts[batch.prompt_of[item]], self.serial + item)

    def digest(self) -> str:
        frozen = self.memory.freeze()
        self.memory.thaw()
        parts = [name.encode() + array.tobytes() for name, array in sorted(frozen.items())]
        return hashlib.sha256(b"".join(parts)).hexdigest()


def right(batch: Batch) -> np.ndarray:
    return np.flatnonzero(batch.outcomes > 0)


def read(view: View, batch: Batch, k: int, least: float | None, first_serial: int, *, hold: bool) -> list[list[int]]:
    """Serial numbers of what each item reads, as its reading says it."""
    found: list[list[int]] = [[] for _ in range(len(batch))]
    for one in reading.read(view, batch.keys, batch.prompts, batch.prompt_of, k, least, hold_one_out=hold):
        serials = view.serials(one.entries, first_serial).tolist()
        counts = one.counts.tolist()
        for item, held, count in zip(one.items.tolist(), one.held.tolist(), counts, strict=True):
            found[item] = [serial for place, serial in enumerate(serials) if place != held]
            assert len(found[item]) == count
            assert sum(len(view.entries(prompt)) for prompt in one.prompts) == len(serials)
    return found


def held_out(stored: set[int], batch: Batch, item: int, first_serial: int) -> int | None:
    """L9 once more: its own entry if it is stored, else that of the next item (cyclic) of the same prompt that is."""
    n = len(batch)
    for step in range(n):
        other = (item + step) % n
        if batch.keys[other] == batch.keys[item] and first_serial + other in stored:
            return first_serial + other
    return None


def hostile_batch(rng: np.random.Generator, prompts: int, n: int) -> Batch:
    """A random batch in which prompts are embedded in one of few places, so that ties are common, and some in two."""
    places = unit_rows(np.random.default_rng(99), 4)
    numbers = rng.integers(prompts, size=n)
    rows = [places[(number + (rng.random() < 0.1)) % 4] for number in numbers]
    names = [f"prompt {number}" for number in numbers]
    return make_batch(names, unit_rows(rng, n), rng.integers(2, size=n).tolist(), places=rows)


@pytest.mark.slow
@pytest.mark.parametrize(("max_prompts", "max_completions"), [(1, 1), (1, 3), (2, 1), (2, 4), (5, 2), (30, 6)])
def test_every_item_reads_what_the_law_says(max_prompts: int, max_completions: int) -> None:
    rng = np.random.default_rng(0)
    both = Written(max_prompts, max_completions)
    for turn in range(60):
        batch = hostile_batch(rng, max_prompts + 4, int(rng.integers(1, 14)))
        k, least = (1, 2, 3, 50)[turn % 4], (None, -0.2, 0.9)[turn % 3]
        first, rows = both.serial, batch.prompts[batch.prompt_of]
        asked = list(zip(batch.keys, rows, strict=True))
        before = [both.plain.read(prompt, row, k, least) for prompt, row in asked]
        assert read(View(both.memory, batch.completions), batch, k, least, first, hold=False) == before
        view, _ = both.stage(batch, right(batch))
        both.write(batch, right(batch))
        stored = {serial for _, _, serials in both.plain.prompts for serial in serials}
        held = [held_out(stored, batch, item, first) for item in range(len(batch))]
        after = [both.plain.read(p, row, k, least, out) for (p, row), out in zip(asked, held, strict=True)]
        assert read(view, batch, k, least, first, hold=True) == after


@pytest.mark.parametrize("k", slow_after(0, [1, 3, 20]))
def test_equal_embeddings_are_compared_once_and_read_as_the_law_says(k: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prompts that begin alike may have equal embeddings: 400 prompts have four of them here."""
    rng, both = np.random.default_rng(3), Written(500, 2)
    for _ in range(10):
        batch = hostile_batch(rng, 400, 80)
        both.write(batch, np.arange(80))
    compared: list[int] = []

    def counted(a: np.ndarray, item: np.ndarray, b: Vectors, entry: np.ndarray) -> np.ndarray:
        compared.append(len(item))
        return pair_cosines(a, item, b, entry)

    monkeypatch.setattr(reading, "pair_cosines", counted)
    batch = hostile_batch(rng, 400, 60)
    for least in (None, 0.9):
        asked = zip(batch.keys, batch.prompts[batch.prompt_of], strict=True)
        expected = [both.plain.read(prompt, row, k, least) for prompt, row in asked]
        found = read(View(both.memory, batch.completions), batch, k, least, both.serial, hold=False)
        assert found == expected
    assert max(compared) <= 4 * 4


def test_reads_are_the_same_with_graphs() -> None:
    rng = np.random.default_rng(1)
    both = Written(40, 3)
    indexed = Written(40, 3, graph_sizes=GraphSizes(16, 8))
    for _ in range(60):
        batch = random_batch(rng, 120, 8)
        results = []
        for one in (both, indexed):
            prompts = one.memory.prompts
            if wanted := prompts.next_graph():
                prompts.swap(build(prompts.vector_range(*wanted), seed=0))
            view, writes = one.stage(batch, right(batch))
            results.append(read(view, batch, 5, None, one.serial, hold=True))
            one.write(batch, right(batch), writes)
        assert results[0] == results[1]
    assert indexed.memory.prompts.graphs
    assert not both.memory.prompts.graphs


def test_a_view_leaves_the_memory_as_it_was() -> None:
    rng = np.random.default_rng(2)
    both = Written(4, 20)
    for _ in range(30):
        both.write(random_batch(rng, 6, 30), np.arange(30))
        before = both.digest()
        batch = random_batch(rng, 9, 40)
        view, _ = both.stage(batch, np.arange(40))
        for one in reading.read(view, batch.keys, batch.prompts, batch.prompt_of, 3, None, hold_one_out=True):
            view.vectors(one.entries)[:] = 0
            for number in one.prompts:
                view.sum(number)
        assert both.digest() == before


@pytest.mark.parametrize(("max_prompts", "max_completions"), slow_after(2, [(1, 1), (5, 20), (2, 3), (50, 40)]))
def test_what_a_view_shows_is_what_the_memory_is_once_written(max_prompts: int, max_completions: int) -> None:
    rng = np.random.default_rng(3)
    both = Written(max_prompts, max_completions)
    for _ in range(40):
        batch = random_batch(rng, max_prompts + 2, int(rng.integers(1, 60)))
        view, writes = both.stage(batch, right(batch))
        numbers = {prompt: view.find(prompt) for prompt in set(batch.keys)}
        shown = {}
        for prompt, number in numbers.items():
            if number is not None:
                entries = np.array(view.entries(number))
                serials = view.serials(entries, both.serial).tolist()
                shown[prompt] = (view.sum(number), view.vectors(entries), serials)
        size = view.prompt_count, view.completion_count
        both.write(batch, right(batch), writes)
        memory = both.memory
        assert size == (len(memory.number), memory.completion_count)
        assert numbers == {prompt: memory.number.get(prompt) for prompt in numbers}
        for prompt, (total, vectors, serials) in shown.items():
            rows = np.array(memory.entries[memory.number[prompt]])
            np.testing.assert_array_equal(total, memory.sums([memory.number[prompt]])[memory.number[prompt]])
            np.testing.assert_array_equal(vectors, memory.completions.take(rows))
            assert serials == memory.serials[rows].tolist()


def test_a_prompt_that_was_written_and_evicted_within_the_request_is_not_found() -> None:
    both = Written(1, 9)
    batch = make_batch(["a", "b", "a", "c"], unit_rows(np.random.default_rng(4), 4), [1] * 4)
    view, writes = both.stage(batch, np.arange(4))
    assert [view.find(key(name)) for name in "abc"] == [None, None, 3]
    assert (view.prompt_count, view.completion_count) == (1, 1)
    assert writes.prompt.tolist() == [0, 1, 2, 3]
    # c has no entry but its own, which is held out, and is passed over; a and b are nobody's neighbours but c's
    assert read(view, batch, 1, None, 0, hold=True) == [[3], [3], [3], []]


def test_the_own_prompt_is_read_however_unlike_itself_it_is_embedded() -> None:
    rng = np.random.default_rng(5)
    both = Written(9, 9)
    both.write(make_batch(["a", "b"], unit_rows(rng, 2), [1, 1]), np.arange(2))
    batch = make_batch(["a"], unit_rows(rng, 1), [1])
    batch = replace(batch, prompts=-batch.prompts)
    assert read(View(both.memory, batch.completions), batch, 1, 0.99, 2, hold=False) == [[0]]


def test_nothing_is_read_from_an_empty_memory() -> None:
    batch = make_batch(["a", "b"], unit_rows(np.random.default_rng(6), 2), [0, 0])
    view = View(Memory(DIMENSION, 3, 3), batch.completions)
    for hold in (False, True):
        assert read(view, batch, 4, None, 0, hold=hold) == [[], []]


def test_without_items_there_are_no_readings() -> None:
    view = View(Memory(DIMENSION, 3, 3), np.empty((0, DIMENSION), np.float32))
    assert reading.read(view, [], np.empty((0, DIMENSION), np.float32), np.empty(0, np.int64), 1, None) == []
