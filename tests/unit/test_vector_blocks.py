"""Vectors by row number against a plain dict of rows."""

import numpy as np
import pytest
from memr_service.memory.vector_blocks import BLOCK, VectorBlocks
from support.batches import unit_rows

BORDER = [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK - 1, 2 * BLOCK, 3 * BLOCK + 7]


def contents(blocks: list[np.ndarray]) -> np.ndarray:
    return np.concatenate(blocks)


@pytest.mark.parametrize("storage", ["float32", "float16"])
def test_rows_hold_what_was_written_last_across_blocks(storage: str) -> None:
    rng = np.random.default_rng(0)
    rows, plain = VectorBlocks(4, storage), {}
    for _ in range(60):
        where = rng.choice(BORDER, size=rng.integers(1, 6))
        vectors = unit_rows(rng, len(where), 4)
        rows.write(where, vectors)
        for row, vector in zip(where.tolist(), vectors, strict=True):
            plain[row] = vector.astype(storage).astype(np.float32)
        asked = rng.choice(list(plain), size=9)
        taken = rows.take(asked)
        assert taken.dtype == np.float32
        np.testing.assert_array_equal(taken, [plain[row] for row in asked.tolist()])


def test_of_a_row_named_twice_the_last_vector_stays() -> None:
    rows = VectorBlocks(2)
    rows.write(np.array([3, BLOCK, 3, BLOCK, 3]), np.arange(10, dtype=np.float32).reshape(5, 2))
    np.testing.assert_array_equal(rows.take(np.array([3, BLOCK])), [[8, 9], [6, 7]])


def test_no_rows_are_written_and_taken_without_complaint() -> None:
    rows, none = VectorBlocks(2), np.empty(0, np.int64)
    rows.write(none, np.empty((0, 2), np.float32))
    assert rows.take(none).shape == (0, 2)


def test_what_was_taken_is_the_callers_own() -> None:
    rows = VectorBlocks(2)
    rows.write(np.array([0, 1]), np.ones((2, 2), np.float32))
    rows.take(np.array([0, 1]))[:] = 5
    np.testing.assert_array_equal(rows.take(np.array([0, 1])), np.ones((2, 2)))


@pytest.mark.parametrize("storage", ["float32", "float16"])
@pytest.mark.parametrize("gaps", [[], [1], [0, BLOCK - 1, BLOCK, 2 * BLOCK + 5], list(range(BLOCK, 2 * BLOCK))])
def test_rows_come_block_by_block_and_cannot_be_written_to(storage: str, gaps: list[int]) -> None:
    rows, vectors = VectorBlocks(4, storage), unit_rows(np.random.default_rng(1), 3 * BLOCK, 4, storage)
    rows.write(np.arange(3 * BLOCK), vectors)
    asked = np.setdiff1d(np.arange(3 * BLOCK - 9), gaps)
    seen = 0
    for here, block in rows.by_block(asked):
        assert here.start == seen
        assert block.dtype == np.float32
        assert not block.flags.writeable
        np.testing.assert_array_equal(block, vectors[asked[here]])
        seen = here.stop
    assert seen == len(asked)


@pytest.mark.parametrize(("start", "stop"), [(0, 0), (0, 1), (5, BLOCK), (BLOCK - 1, BLOCK + 1), (1, 3 * BLOCK)])
def test_slices_are_the_rows_in_order_and_cannot_be_written_to(start: int, stop: int) -> None:
    rows = VectorBlocks(1)
    rows.write(np.arange(3 * BLOCK), np.arange(3 * BLOCK, dtype=np.float32)[:, None])
    seen = []
    for first, block in rows.slices(start, stop):
        assert block[0, 0] == first
        assert not block.flags.writeable
        seen += block[:, 0].tolist()
    assert seen == list(range(start, stop))


def test_frozen_blocks_never_change_and_later_writes_are_kept() -> None:
    rng = np.random.default_rng(1)
    rows, used = VectorBlocks(3), 2 * BLOCK + 5
    rows.write(np.arange(used), unit_rows(rng, used, 3))
    frozen = rows.freeze(used)
    before = contents(frozen).copy()
    where = np.array([0, BLOCK - 1, BLOCK, used - 1, used, 4 * BLOCK])
    later = unit_rows(rng, len(where), 3)
    rows.write(where, later)
    np.testing.assert_array_equal(contents(frozen), before)
    np.testing.assert_array_equal(rows.take(where), later)
    np.testing.assert_array_equal(rows.take(np.array([1, BLOCK + 1])), before[[1, BLOCK + 1]])


def test_only_written_blocks_are_copied_while_frozen_and_none_afterwards() -> None:
    rows = VectorBlocks(3)
    rows.write(np.arange(2 * BLOCK), np.zeros((2 * BLOCK, 3), np.float32))
    first, second = rows.freeze(2 * BLOCK)
    rows.write(np.array([0]), np.ones((1, 3), np.float32))
    now, untouched = (block for _, block in rows.slices(0, 2 * BLOCK))
    assert not np.shares_memory(now, first)
    assert np.shares_memory(untouched, second)
    rows.thaw()
    rows.write(np.array([BLOCK]), np.ones((1, 3), np.float32))
    assert second[0, 0] == 1


@pytest.mark.parametrize("storage", ["float32", "float16"])
@pytest.mark.parametrize("used", [0, 1, BLOCK, BLOCK + 1])
def test_restored_rows_are_the_frozen_ones_and_have_a_life_of_their_own(used: int, storage: str) -> None:
    rng = np.random.default_rng(2)
    rows, where = VectorBlocks(3, storage), np.arange(used)
    rows.write(where, unit_rows(rng, used, 3))
    frozen = rows.freeze(used)
    before = [block.copy() for block in frozen]
    other = VectorBlocks(3, storage)
    other.restore(frozen)
    np.testing.assert_array_equal(other.take(where), rows.take(where))
    rows.thaw()
    other.write(np.arange(used + 1), np.zeros((used + 1, 3), np.float32))
    rows.write(np.array([used]), np.ones((1, 3), np.float32))
    for block, was in zip(frozen, before, strict=True):
        np.testing.assert_array_equal(block, was)
    assert not other.take(np.arange(used + 1)).any()


def test_blocks_read_from_a_file_are_taken_over_without_a_copy() -> None:
    block = np.ones((BLOCK, 3), np.float32)
    rows = VectorBlocks(3)
    rows.restore([block, block[:5].copy()])
    assert np.shares_memory(next(rows.slices(0, 1))[1], block)
    np.testing.assert_array_equal(rows.take(np.array([BLOCK + 4])), np.ones((1, 3)))


def test_what_is_shared_stays_as_it_was_and_is_copied_only_as_long_as_somebody_looks() -> None:
    rows, vectors = VectorBlocks(4), unit_rows(np.random.default_rng(2), 2 * BLOCK, 4)
    rows.write(np.arange(2 * BLOCK), vectors)
    shared, asked = rows.shared(), np.array([0, 5, BLOCK, 2 * BLOCK - 1])
    rows.write(asked[:2], np.zeros((2, 4), np.float32))
    np.testing.assert_array_equal(shared.take(asked), vectors[asked])
    np.testing.assert_array_equal(rows.take(asked), [np.zeros(4), np.zeros(4), vectors[BLOCK], vectors[-1]])
    (_, first), (_, second) = rows.slices(0, 2 * BLOCK)
    rows.write(np.array([1]), np.zeros((1, 4), np.float32))
    assert not first[1].any(), "a block of one's own is written to in place"
    del shared
    rows.write(asked[2:3], np.zeros((1, 4), np.float32))
    assert not second[0].any(), "nobody looks any more"
