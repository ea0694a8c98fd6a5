"""Embeddings as they come off the wire (L2)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from memr_client.errors import InvalidRequest
from memr_client.schemas import Embeddings
from memr_service.engine import sent_embeddings
from memr_service.engine.embedding import rounded
from support.batches import unit_rows as random_rows


def test_rows_come_out_of_unit_length_whatever_came_in() -> None:
    rng = np.random.default_rng(0)
    unit = random_rows(rng, 6, 12).astype(np.float64)
    for sent in (unit * 5, (unit * 1e-30).astype(np.float32), np.asfortranarray(unit * 3), unit.astype(np.float16)):
        rows = sent_embeddings.unit_rows(sent, "prompts")
        assert rows.dtype == np.float32
        np.testing.assert_allclose(np.linalg.norm(rows.astype(np.float64), axis=1), 1, atol=1e-7)
        np.testing.assert_allclose(rows, unit, atol=1e-3 if sent.dtype == np.float16 else 1e-6)
    whole = rng.integers(-3, 4, size=(5, 4)) * 2 + 1
    np.testing.assert_array_equal(
        sent_embeddings.unit_rows(whole, "p"), sent_embeddings.unit_rows(whole.astype(np.float64), "p")
    )


def test_rows_are_the_same_bits_whatever_their_layout_in_memory() -> None:
    sent = np.random.default_rng(1).normal(size=(50, 384))
    rows = sent_embeddings.unit_rows(sent, "prompts")
    for other in (np.asfortranarray(sent), np.repeat(sent, 2, axis=0)[::2], sent[::-1][::-1], sent.astype(">f8")):
        again = sent_embeddings.unit_rows(other, "prompts")
        np.testing.assert_array_equal(again, rows)
        assert again.flags.c_contiguous
    for at in (0, 17):
        np.testing.assert_array_equal(sent_embeddings.unit_rows(sent[at : at + 1], "prompts")[0], rows[at])


@pytest.mark.parametrize("bad", [0.0, np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("whole_row", [True, False])
def test_a_row_that_is_zero_or_not_finite_is_refused_by_its_place(bad: float, whole_row: bool) -> None:
    sent = np.eye(4)
    sent[2, :] = bad if whole_row else sent[2, :]
    sent[2, 2] = bad
    with pytest.raises(InvalidRequest, match=r"embeddings\.completions\[2\]") as caught:
        sent_embeddings.unit_rows(sent, "completions")
    assert caught.value.limit
    assert caught.value.remedy


def test_numbers_too_large_to_square_are_refused_without_a_warning() -> None:
    with pytest.raises(InvalidRequest):
        sent_embeddings.unit_rows(np.array([[1e300] * 3]), "prompts")


def test_half_precision_is_what_is_stored_before_anything_reads_it() -> None:
    rows = random_rows(np.random.default_rng(2), 5)
    np.testing.assert_array_equal(rounded(rows, "float32"), rows)
    half = rounded(rows, "float16")
    assert half.dtype == np.float32
    np.testing.assert_array_equal(half, rows.astype(np.float16))


def test_a_matrix_may_come_as_lists_arrays_or_bytes() -> None:
    rows = random_rows(np.random.default_rng(3), 3, 5)
    packed = rows.astype("<f4").tobytes()
    for raw in (rows.tolist(), rows, rows.astype(np.float64), packed, bytearray(packed), memoryview(packed)):
        np.testing.assert_array_equal(sent_embeddings.matrix(raw, "prompts", 3), rows)
    np.testing.assert_array_equal(sent_embeddings.matrix([[1, 0], [0, 2]], "prompts", 2), [[1, 0], [0, 2]])


@pytest.mark.parametrize(
    "raw",
    [
        [],
        [[]],
        [[], []],
        [1.0, 2.0],
        [[1.0, 2.0]],
        [[1.0], [2.0], [3.0]],
        [[1.0, 2.0], [3.0]],
        [[[1.0]], [[2.0]]],
        [["1"], ["2"]],
        [[True], [False]],
        [[None], [1.0]],
        [[1j], [1.0]],
        [[10**30], [1]],
        [{}, {}],
        {"a": 1},
        "text",
        None,
        7,
        b"",
        b"1234567",
        b"1234",
        bytes(12),
    ],
)
def test_what_is_not_a_row_of_numbers_for_each_item_is_refused(raw: Any) -> None:
    with pytest.raises(InvalidRequest, match=r"embeddings\.prompts ") as caught:
        sent_embeddings.matrix(raw, "prompts", 2)
    assert caught.value.limit
    assert caught.value.remedy


def test_pairs_of_prompt_and_embedding_are_told_apart_by_both() -> None:
    rows = random_rows(np.random.default_rng(4), 2)
    vectors = rows[[0, 0, 1, 0, 1, 0]]
    keys = [b"a", b"b", b"a", b"a", b"a", b"b"]
    first, of = sent_embeddings.distinct_prompts(vectors, keys)
    assert first.tolist() == [0, 1, 2]
    assert of.tolist() == [0, 1, 2, 0, 2, 1]
    np.testing.assert_array_equal(vectors[first][of], vectors)
    same = sent_embeddings.distinct_prompts(rows, keys, [0, 0, 1, 0, 1, 0])
    assert [column.tolist() for column in same] == [first.tolist(), of.tolist()]


def test_lists_become_the_array_that_they_become_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sent_embeddings, "ROWS", 2)
    for rows in ([[1, 2]] * 5, [[1, 2]] * 4 + [[0.5, 1]], [[1.5, 2.0]] * 3, [[2**53 + 1, 0]] * 2 + [[0.5, 1]]):
        made = sent_embeddings.matrix(rows, "prompts", len(rows))
        assert made.dtype == np.asarray(rows).dtype
        np.testing.assert_array_equal(made, np.asarray(rows))
    for wrong in ([[1.0, 2.0]] * 3 + [[1.0]], [[1.0]] * 3 + [[None]], [[1.0]] * 3 + [["x"]], [[1.0]] * 3 + [1.0]):
        with pytest.raises(InvalidRequest):
            sent_embeddings.matrix(wrong, "prompts", 4)


def test_embeddings_wider_than_any_runs_are_refused_before_they_are_read() -> None:
    with pytest.raises(InvalidRequest, match="dimension 16385"):
        sent_embeddings.matrix(bytes(4 * 16_385), "prompts", 1)
    assert sent_embeddings.matrix(bytes(4 * 16_384), "prompts", 1).shape == (1, 16_384)


def test_a_trainers_step_is_read_on_the_event_loop_and_many_numbers_are_not() -> None:
    for made in (np.zeros, lambda shape: np.zeros(shape).tolist(), lambda shape: np.zeros(shape, "<f4").tobytes()):
        step, many = made((64, 384)), made((1024, 384))
        assert sent_embeddings.few_numbers(Embeddings(prompts=step, completions=step))
        assert not sent_embeddings.few_numbers(Embeddings(prompts=many, completions=step))
    assert sent_embeddings.few_numbers(None)
