"""Prompts that leave in any order, against a dictionary."""

from __future__ import annotations

import numpy as np
import pytest
from memr_service.memory import GraphSizes
from memr_service.memory.hnsw import build
from memr_service.memory.prompt_slots import PromptSlots
from support.batches import DIMENSION, unit_rows
from support.cases import slow_after


@pytest.mark.parametrize("sizes", slow_after(1, [None, GraphSizes(12, 6)]))
def test_it_finds_what_is_stored_and_nothing_that_left(sizes: GraphSizes | None) -> None:
    rng, table = np.random.default_rng(0), PromptSlots(DIMENSION, 40, 1e-5, sizes)
    known: dict[int, np.ndarray] = {}
    for _ in range(300):
        if len(known) == 40 or (known and rng.random() < 0.3):
            gone = int(rng.choice(list(known)))
            del known[gone]
            table.drop(gone)
        row = unit_rows(rng, 1)[0]
        known[table.tail] = row
        table.append(row)
        if wanted := table.next_graph():
            table.swap(build(table.vector_range(*wanted), seed=0))
        assert table.tallies()[0].tolist() == list(known)
        np.testing.assert_array_equal(table.take(np.array(list(known))), np.stack(list(known.values())))
        query, leaving = unit_rows(rng, 1), np.array(sorted(known)[:2], np.int64)
        near = sorted(set(known) - set(leaving.tolist()), key=lambda number: -float(query[0] @ known[number]))[:3]
        assert set(near) <= set(table.candidates(query, 3, leaving)[0].tolist())
        assert not set(table.candidates(query, 3, leaving)[0].tolist()) & set(leaving.tolist())
    assert bool(table.graphs) == (sizes is not None)


def test_slots_are_used_again_and_survive_a_restore() -> None:
    rng, table = np.random.default_rng(1), PromptSlots(DIMENSION, 5, 1e-5)
    for number in range(200):
        table.append(unit_rows(rng, 1)[0])
        table.units[table.slot(number)] = number
        if number >= 5:
            table.drop(int(rng.choice(table.tallies()[0][:-1])))
    assert max(table.slot(number) for number in table.tallies()[0].tolist()) <= 5
    again = PromptSlots(DIMENSION, 5, 1e-5)
    again.tail = table.tail
    again.vectors.restore(table.vectors.freeze(6))
    again.restore(table.freeze())
    for one, other in zip(table.tallies(), again.tallies(), strict=True):
        np.testing.assert_array_equal(one, other)
    numbers = table.tallies()[0]
    np.testing.assert_array_equal(table.take(numbers), again.take(numbers))
    for _ in range(3):
        again.drop(int(again.tallies()[0][0]))
        again.append(unit_rows(rng, 1)[0])
    assert len(again.tallies()[0]) == 5
