"""State as a fold over records: live, from a journal and from a snapshot it is the same, and so are later rewards."""

from __future__ import annotations

import gc
import weakref
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from memr_client.schemas import RunConfig
from memr_service.memory import GraphSizes
from memr_service.memory.hnsw import Graph, VectorRange, build
from memr_service.memory.index import Index
from memr_service.rewards.score import score
from memr_service.state.codec import seal, unseal
from memr_service.state.record import Batch, Effects, IndexChange, Record
from memr_service.state.state import State
from support.batches import DIMENSION, config, make_batch, random_batch, unit_rows
from support.cases import slow_after

CONFIGS: list[dict[str, Any]] = [
    {},
    {"max_prompts": 1, "max_completions": 1, "order": "read_first"},
    {"max_prompts": 4, "max_completions": 3, "k": 3, "scaling": "request", "center": "group"},
    {"max_prompts": 9, "max_completions": 40, "k": 2, "storage": "float16", "min_similarity": -0.3},
    {"components": {"exploit": 1.0, "value": 1.0}, "max_prompts": 15, "max_completions": 4, "k": 2},
    {"components": {"explore": 2.0}, "explore_warmup_steps": 7, "explore_warmup_prompts": 3, "window": 5},
]
GRAPHS = GraphSizes(12, 6)


class Graphs:
    """Where states find the graphs that another one began: built again from the same embeddings."""

    def __init__(self) -> None:
        self.begun: dict[tuple[str, int, int], VectorRange] = {}

    def find(self, index: Index, name: str, start: int, stop: int) -> Graph | None:
        stretch = self.begun.get((name, start, stop))
        return None if stretch is None else build(stretch, seed=0)


class Live:
    """A state, the records that led to it, and index changes in the background as a run would have them."""

    def __init__(self, config: RunConfig, sizes: GraphSizes | None = None) -> None:
        self.state = State(config, sizes)
        self.graphs = Graphs()
        self.journal: list[bytes] = []
        self._begun: dict[str, tuple[int, int]] = {}

    def reward(self, batch: Batch) -> Effects:
        state = self.state
        effects = replace(score(state, batch, write=True), index_changes=self._index_changes())
        made = Record(0, state.position + 1, batch, effects, state.serial, state.chain)
        record, payload = seal(made)
        state.apply(record)
        self.journal.append(payload)
        self.graphs.begun |= {(name, one.start, one.stop): one for name, one in state.indexes.building.items()}
        return effects

    def _index_changes(self) -> list[IndexChange]:
        changes = []
        for name, index in self.state.indexes.all().items():
            if name in self._begun:
                changes.append(IndexChange(name, "swap", *self._begun.pop(name)))
            elif wanted := index.next_graph():
                self._begun[name] = wanted
                changes.append(IndexChange(name, "build", *wanted))
        return changes


def batches(seed: int, count: int, prompts: int, storage: str = "float32") -> list[Batch]:
    rng = np.random.default_rng(seed)
    return [random_batch(rng, prompts, int(rng.integers(1, 12)), storage=storage) for _ in range(count)]


def prompts_for(config: RunConfig) -> int:
    return min(config.max_prompts, 20) + 3


def assert_same(one: State, other: State) -> None:
    assert one.digest() == other.digest()
    assert one.chain == other.chain
    for name in ("position", "serial", "step", "steps", "stepless", "dimension"):
        assert getattr(one, name) == getattr(other, name)
    assert one.sizes() == other.sizes()
    for name, window in one.windows.items():
        np.testing.assert_array_equal(window, other.windows[name])


def assert_same_effects(one: Effects, other: Effects) -> None:
    np.testing.assert_array_equal(one.rewards, other.rewards)
    for name, raw in one.raw.items():
        np.testing.assert_array_equal(raw, other.raw[name])
        np.testing.assert_array_equal(one.scaled[name], other.scaled[name])


@pytest.mark.slow
@pytest.mark.parametrize("fields", slow_after(2, CONFIGS))
@pytest.mark.parametrize("sizes", [pytest.param(None, marks=pytest.mark.slow), GRAPHS])
def test_a_fold_over_the_journal_is_the_live_state_and_scores_alike_at_every_record(
    fields: dict[str, Any], sizes: GraphSizes | None
) -> None:
    chosen = config(**fields)
    live, fold = Live(chosen, sizes), State(chosen, sizes)
    for batch in batches(0, 40, prompts_for(chosen), chosen.storage):
        effects = live.reward(batch)
        record = unseal(live.journal[-1])
        assert_same_effects(score(fold, record.batch, write=True), effects)
        fold.apply(record)
        assert_same(fold, live.state)
    if sizes is not None and chosen.max_prompts > 12:
        assert all(index.graphs for index in fold.indexes.all().values())


@pytest.mark.parametrize("fields", slow_after(2, CONFIGS))
@pytest.mark.parametrize("sizes", [pytest.param(None, marks=pytest.mark.slow), GRAPHS])
@pytest.mark.parametrize("at", [pytest.param(0, marks=pytest.mark.slow), pytest.param(1, marks=pytest.mark.slow), 25])
def test_a_restored_state_is_the_frozen_one_and_gives_the_same_rewards_from_then_on(
    fields: dict[str, Any], sizes: GraphSizes | None, at: int
) -> None:
    chosen = config(**fields)
    live = Live(chosen, sizes)
    history = batches(1, 36, prompts_for(chosen), chosen.storage)
    for batch in history[:at]:
        live.reward(batch)
    digest, frozen = live.state.digest(), live.state.freeze()
    later = [live.reward(batch) for batch in history[at:]]  # while the snapshot is being written
    restored = State(chosen, sizes)
    restored.indexes.find_graph = live.graphs.find
    restored.restore(0, at, {name: array.copy() for name, array in frozen.items()})
    assert restored.digest() == digest
    for payload, effects in zip(live.journal[at:], later, strict=True):
        record = unseal(payload)
        assert_same_effects(score(restored, record.batch, write=True), effects)
        restored.apply(record)
    assert_same(restored, live.state)


def test_what_was_frozen_does_not_change_while_both_states_go_on() -> None:
    live = Live(config(max_prompts=6, max_completions=30))
    for batch in batches(2, 40, 9):
        live.reward(batch)
    frozen = live.state.freeze()
    before = {name: array.copy() for name, array in frozen.items()}
    other = State(live.state.config)
    other.restore(0, live.state.position, frozen)
    live.state.thaw()
    for batch in batches(3, 40, 9):
        other.apply(unseal(seal(Record(0, 1, batch, score(other, batch, write=True), 0, b""))[1]))
    for name, array in before.items():
        np.testing.assert_array_equal(frozen[name], array)
    assert other.digest() != live.state.digest()


@pytest.mark.slow
def test_the_digest_does_not_depend_on_graphs_or_snapshots() -> None:
    chosen = config(max_prompts=15, max_completions=4)
    plain, indexed = Live(chosen), Live(chosen, GRAPHS)
    for number, batch in enumerate(batches(4, 60, 25)):
        plain.reward(batch)
        indexed.reward(batch)
        if number % 7 == 0:
            indexed.state.freeze()
        if number % 7 == 3:
            indexed.state.thaw()
        assert plain.state.digest() == indexed.state.digest()
    assert indexed.state.memories["success"].prompts.graphs
    assert plain.state.chain != indexed.state.chain  # index changes are effects, and are replayed as such


def test_the_digest_tells_any_two_states_apart() -> None:
    rng = np.random.default_rng(5)
    rows = unit_rows(rng, 4)

    def after(*requests: tuple[str, int, float, int | None]) -> str:
        live = Live(config(explore_warmup_steps=0))
        for name, row, outcome, step in requests:
            live.reward(make_batch([name], rows[[row]], [outcome], step=step))
        return live.state.digest()

    histories = [
        (),
        (("a", 0, 1, None),),
        (("a", 1, 1, None),),
        (("b", 0, 1, None),),
        (("a", 0, 0, None),),
        (("a", 0, 1, 3),),
        (("a", 0, 1, 4),),
        (("a", 0, 1, None), ("a", 1, 1, None)),
        (("a", 1, 1, None), ("a", 0, 1, None)),
        (("a", 0, 1, 3), ("a", 1, 1, 3)),
        (("a", 0, 1, 3), ("a", 1, 1, 4)),
        (("a", 0, 1, 4), ("a", 1, 1, 3)),
        (("a", 0, 1, None), ("b", 1, 1, None)),
        (("b", 1, 1, None), ("a", 0, 1, None)),
    ]
    assert len({after(*history) for history in histories}) == len(histories)
    assert after(*histories[-1]) == after(*histories[-1])


def test_only_apply_changes_a_state() -> None:
    live = Live(config(max_prompts=3, max_completions=20))
    for batch in batches(6, 30, 5):
        live.reward(batch)
        before = live.state.digest()
        for other in batches(7, 3, 9):
            for write in (True, False):
                score(live.state, other, write=write)
        assert live.state.digest() == before


def test_steps_count_once_each_and_requests_without_one_each_time() -> None:
    live = Live(config(explore_warmup_steps=4))
    rows, seen = unit_rows(np.random.default_rng(8), 1), []
    for step in (5, 5, None, 2, None, 5):
        effects = live.reward(make_batch(["a"], rows, [0.0], step=step))
        seen.append((live.state.steps_committed, effects.warmup["explore"], live.state.step))
    assert seen == [(1, 4, 5), (1, 3, 5), (2, 3, 5), (3, 2, 2), (4, 1, 2), (4, 0, 5)]


def test_a_batch_that_writes_nothing_still_counts_and_fixes_the_dimension() -> None:
    live = Live(config(success_threshold=0.9, failure_threshold=0.1))
    assert live.state.dimension is None
    assert live.state.sizes() == {"success": [0, 0], "failure": [0, 0]}
    live.reward(make_batch(["a", "b"], unit_rows(np.random.default_rng(9), 2), [0.5, 0.5]))
    assert live.state.sizes() == {"success": [0, 0], "failure": [0, 0]}
    assert (live.state.dimension, live.state.serial, live.state.position) == (DIMENSION, 2, 1)
    restored = State(live.state.config)
    restored.restore(0, 1, live.state.freeze())
    assert_same(restored, live.state)


@pytest.mark.slow
def test_of_a_journals_graphs_only_those_in_use_at_its_end_are_looked_for() -> None:
    chosen = config(max_prompts=15, max_completions=4, components={"value": 1.0})
    live = Live(chosen, GRAPHS)
    for batch in batches(12, 40, 25):
        live.reward(batch)
    frozen = live.state.freeze()
    for batch in batches(13, 40, 25):
        live.reward(batch)
    asked: list[tuple[str, int, int]] = []

    def find(index: Index, name: str, start: int, stop: int) -> Graph | None:
        asked.append((name, start, stop))
        return live.graphs.find(index, name, start, stop)

    def read(state: State) -> None:
        state.indexes.find_graph = find
        state.restore(0, 40, {name: array.copy() for name, array in frozen.items()})
        for payload in live.journal[40:]:
            state.apply(unseal(payload))

    one_by_one, restored = State(chosen, GRAPHS), State(chosen, GRAPHS)
    read(one_by_one)
    in_use = {(name, one.start, one.stop) for name, index in live.state.indexes.all().items() for one in index.graphs}
    assert in_use < set(asked)
    asked.clear()
    with restored.indexes.deferred():
        read(restored)
        assert not asked
    assert sorted(asked) == sorted(in_use)
    for name, index in restored.indexes.all().items():
        other = one_by_one.indexes.all()[name]
        assert [(one.numbers.tolist(), one.live) for one in index.graphs] == [
            (one.numbers.tolist(), one.live) for one in other.graphs
        ]
    batch = batches(14, 1, 25)[0]
    one, other = (score(state, batch, write=True) for state in (live.state, restored))
    assert_same_effects(one, other)


@pytest.mark.parametrize("fields", [{}, {"components": {"value": 1.0}}, {"memory": {"eviction": "value"}}])
def test_a_state_that_nobody_uses_is_not_kept(fields: dict[str, Any]) -> None:
    chosen = config(**fields)
    live = Live(chosen, GRAPHS)
    for batch in batches(12, 40, 25):
        live.reward(batch)
    assert live.state.memories["success"].prompts.graphs
    state, memory = weakref.ref(live.state), weakref.ref(live.state.memories["success"])
    gc.disable()  # no reference leads back to it, so its megabytes do not wait for a search for garbage
    try:
        del live
        assert state() is None
        assert memory() is None
    finally:
        gc.enable()


def test_a_journal_that_cannot_be_read_asks_for_no_graph() -> None:
    chosen = config()
    live = Live(chosen, GRAPHS)
    for batch in batches(12, 40, 25):
        live.reward(batch)
    assert live.state.memories["success"].prompts.graphs
    restored = State(chosen, GRAPHS)
    asked: list[str] = []
    restored.indexes.find_graph = lambda index, name, start, stop: asked.append(name)

    def read() -> None:
        with restored.indexes.deferred():
            restored.restore(0, 40, live.state.freeze())
            raise ValueError("record 41 does not follow")

    with pytest.raises(ValueError, match="41"):
        read()
    assert not asked


def test_a_graph_that_nobody_has_is_built_on_the_spot() -> None:
    chosen = config(max_prompts=15, max_completions=4)
    live = Live(chosen, GRAPHS)
    for batch in batches(10, 60, 25):
        live.reward(batch)
    restored = State(chosen, GRAPHS)
    restored.restore(0, 60, live.state.freeze())
    ranges = [(graph.start, graph.stop) for graph in live.state.memories["failure"].prompts.graphs]
    assert [(graph.start, graph.stop) for graph in restored.memories["failure"].prompts.graphs] == ranges
    batch = batches(11, 1, 25)[0]
    one, other = (score(state, batch, write=True) for state in (live.state, restored))
    assert_same_effects(one, other)
