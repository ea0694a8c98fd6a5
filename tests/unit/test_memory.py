"""A memory against plain lists: what is stored, in which order it leaves, and the sums it keeps."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from memr_service.memory import Memory, View, Writes
from memr_service.memory.grid import on_grid
from memr_service.state.record import Batch
from support.batches import DIMENSION, PlainMemory, make_batch, random_batch
from support.cases import slow_after

SIZES = [(1, 1), (1, 5), (2, 1), (2, 2), (3, 4), (7, 2), (40, 30)]


class Written:
    """A memory and the plain lists it should be, and every completion ever offered, by serial number."""

    def __init__(self, max_prompts: int, max_completions: int, storage: str = "float32") -> None:
        self.memory = Memory(DIMENSION, max_prompts, max_completions, storage)
        self.plain = PlainMemory(max_prompts, max_completions)
        self.said = np.empty((0, DIMENSION), np.float32)

    def write(self, batch: Batch, items: np.ndarray) -> Writes:
        """Write some items of a batch to both."""
        first = len(self.said)
        prompts = batch.prompts[batch.prompt_of]
        writes = View(self.memory, batch.completions).write_all(items, batch.keys, prompts)
        serials = np.arange(first, first + len(batch))
        self.memory.apply(writes, batch.keys, prompts, batch.completions, serials, batch.outcomes)
        self.said = np.concatenate([self.said, batch.completions])
        for item in items.tolist():
            self.plain.write(batch.keys[item], prompts[item], first + item)
        return writes

    def check(self) -> None:
        """Both hold the same prompts and completions in the same order, and sums are what adding up afresh gives."""
        memory = self.memory
        assert list(memory.number) == [key for key, _, _ in self.plain.prompts]
        assert memory.completion_count == sum(len(serials) for _, _, serials in self.plain.prompts)
        for key, row, serials in self.plain.prompts:
            number = memory.number[key]
            rows = np.array(memory.entries[number])
            np.testing.assert_array_equal(memory.prompts.take(np.array([number]))[0], row)
            assert memory.serials[rows].tolist() == serials
            np.testing.assert_array_equal(memory.completions.take(rows), self.said[serials])
            np.testing.assert_array_equal(memory.sums([number])[number], fresh_sum(self.said[serials]))


def fresh_sum(vectors: np.ndarray) -> np.ndarray:
    """The sum of what is stored, one after the other."""
    total = np.zeros(vectors.shape[1])
    for vector in on_grid(vectors):
        total = total + vector
    return total


def digest(memory: Memory) -> str:
    return hashlib.sha256(b"".join(memory.contents())).hexdigest()


@pytest.mark.parametrize("storage", ["float32", "float16"])
@pytest.mark.parametrize(("max_prompts", "max_completions"), slow_after(3, SIZES))
def test_a_memory_holds_what_plain_lists_hold(max_prompts: int, max_completions: int, storage: str) -> None:
    rng = np.random.default_rng(0)
    both = Written(max_prompts, max_completions, storage)
    for _ in range(40):
        batch = random_batch(rng, max_prompts + 3, int(rng.integers(1, 20)), storage=storage)
        both.write(batch, np.flatnonzero(batch.outcomes > 0))
        both.check()


@pytest.mark.parametrize("max_prompts", [1, 2])
def test_prompts_may_come_and_go_and_come_again_within_one_request(max_prompts: int) -> None:
    rng = np.random.default_rng(1)
    both = Written(max_prompts, 3)
    for _ in range(30):
        batch = random_batch(rng, 5, 25)
        writes = both.write(batch, np.arange(25))
        both.check()
        assert writes.drops_prompt.any()


def test_writes_say_what_left() -> None:
    rng = np.random.default_rng(2)
    both = Written(2, 2)
    batch = random_batch(rng, 1, 3)
    writes = both.write(batch, np.arange(3))
    assert writes.prompt.tolist() == [0, 0, 0]
    assert writes.drops_entry.tolist() == [False, False, True]
    batch = make_batch(["a", "b", "c"], batch.completions, [1, 1, 1])
    writes = both.write(batch, np.array([0, 2]))
    assert writes.item.tolist() == [0, 2]
    assert writes.prompt.tolist() == [1, 2]
    assert writes.drops_prompt.tolist() == [False, True]


@pytest.mark.slow
def test_running_sums_are_bit_equal_to_fresh_ones_after_thousands_of_changes() -> None:
    rng = np.random.default_rng(3)
    both = Written(3, 40)
    for turn in range(120):
        n = 200 if turn % 6 == 0 else 60  # 200: more of a prompt than it holds, so that what is new leaves at once
        both.write(random_batch(rng, 3, n), np.arange(n))
        for number in both.memory.number.values():
            both.memory.sums([number])[number]  # from now on it is kept up to date, not added up afresh
    both.check()
    assert all(len(entries) == 40 for entries in both.memory.entries.values())


def test_room_is_used_again() -> None:
    rng = np.random.default_rng(4)
    both = Written(4, 3)
    for _ in range(100):
        both.write(random_batch(rng, 9, 10), np.arange(10))
    frozen = both.memory.freeze()
    assert len(frozen["serials"]) <= 4 * 3 + 1  # a completion is stored before the one it displaces leaves
    assert sum(len(block) for name, block in frozen.items() if name.startswith("prompts/")) == 4


@pytest.mark.parametrize("storage", ["float32", "float16"])
def test_a_restored_memory_is_the_frozen_one_and_goes_on_like_it(storage: str) -> None:
    rng = np.random.default_rng(5)
    both = Written(5, 20, storage)
    for _ in range(20):
        both.write(random_batch(rng, 8, 30, storage=storage), np.arange(30))
    frozen = both.memory.freeze()
    copy = Memory(DIMENSION, 5, 20, storage)
    copy.restore(frozen)
    assert digest(copy) == digest(both.memory)
    both.memory.thaw()
    other = Written(5, 20, storage)
    other.memory, other.plain, other.said = copy, both.plain, both.said
    before = digest(both.memory)
    other.write(random_batch(rng, 8, 30, storage=storage), np.arange(30))
    other.check()
    assert digest(both.memory) == before


def test_what_was_frozen_stays_while_writes_go_on() -> None:
    rng = np.random.default_rng(6)
    both = Written(50, 10)
    for _ in range(20):
        both.write(random_batch(rng, 60, 50), np.arange(50))
    before, frozen = digest(both.memory), both.memory.freeze()
    for _ in range(20):
        both.write(random_batch(rng, 60, 50), np.arange(50))
    copy = Memory(DIMENSION, 50, 10)
    copy.restore(frozen)
    assert digest(copy) == before != digest(both.memory)


def test_contents_tell_the_order_and_every_bit() -> None:
    rng = np.random.default_rng(7)
    batch = random_batch(rng, 4, 10)

    def written(items: list[int], nudge: float = 0.0) -> str:
        memory = Memory(DIMENSION, 9, 9)
        prompts, completions = batch.prompts[batch.prompt_of], batch.completions.copy()
        completions[0, 0] += nudge
        writes = View(memory, completions).write_all(np.array(items), batch.keys, prompts)
        memory.apply(writes, batch.keys, prompts, completions, np.arange(10), np.ones(10))
        return digest(memory)

    assert written([0, 1, 2]) == written([0, 1, 2])
    assert len({written(items) for items in ([0, 1, 2], [2, 1, 0], [0, 1], [0, 1, 2, 3])}) == 4
    assert written([0, 1, 2], 1e-7) != written([0, 1, 2])


def test_sums_on_the_grid_are_exact_up_to_the_largest_l() -> None:
    rng = np.random.default_rng(8)
    vectors = rng.uniform(-1, 1, size=(65_536, 2)).astype(np.float32)
    exact = on_grid(vectors)
    np.testing.assert_allclose(exact, vectors, atol=2.0**-37)
    total = exact.sum(axis=0)
    assert [sum(int(value * 2**36) for value in column) for column in exact.T] == [int(x * 2**36) for x in total]
