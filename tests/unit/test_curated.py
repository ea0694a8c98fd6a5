"""A curated memory: what merges, ages and leaves, against the law in plain Python (`paper_quality`)."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from memr_service.memory import CuratedMemory, CuratedView, CuratedWrites
from memr_service.memory.curated import decay
from memr_service.rewards.score import score
from memr_service.state.codec import seal, unseal
from memr_service.state.record import GENESIS, Record
from memr_service.state.state import State
from support.batches import config, make_batch, random_batch, unit, unit_rows
from support.histories import World, ask_oracle
from support.paper import Oracle
from support.paper_quality import QualityOracle

RIGHT, WRONG = 1.0, 0.0


def test_with_all_of_it_off_the_law_of_memory_quality_is_the_law() -> None:
    world, given = World(3), {"k": 2, "max_prompts": 5, "max_completions": 3, "explore_warmup_steps": 0}
    one, other = Oracle(given), QualityOracle(given)
    for _ in range(40):
        request = world.request()
        a, b = ask_oracle(one, request), ask_oracle(other, request)
        assert (a.support, a.sizes) == (b.support, b.sizes)
        assert a.rewards == pytest.approx(b.rewards, abs=1e-9)


@pytest.mark.slow
def test_a_snapshot_of_the_state_holds_all_that_bears_on_what_follows() -> None:
    rng = np.random.default_rng(0)
    chosen = config(
        max_prompts=4,
        max_completions=3,
        k=3,
        memory={"merge_similarity": 0.6, "decay_steps": 2.0, "max_age": 6, "eviction": "value"},
    )
    state, other = State(chosen), State(chosen)
    for turn in range(60):
        batch = replace(random_batch(rng, 7, 12), step=turn // 2)
        effects = score(state, batch, write=True)
        record, payload = seal(Record(0, turn + 1, batch, effects, state.serial, state.chain or GENESIS))
        state.apply(unseal(payload))
        other.apply(record)
        if turn % 5 == 0:
            other = State(chosen)
            other.restore(0, turn + 1, {name: array.copy() for name, array in state.freeze().items()})
            state.thaw()
        assert other.digest() == state.digest()
        again = score(other, batch, write=True)
        np.testing.assert_array_equal(again.rewards, score(state, batch, write=True).rewards)


# One thing at a time


class Lived:
    """A run that is told of completions in the plane, by their angles."""

    def __init__(self, **given: Any) -> None:
        memory = {name: given.pop(name) for name in list(given) if name in MEMORY}
        self.config = config(memory=memory, **given)
        self.state = State(self.config)

    def tell(self, prompts: str, degrees: list[float], outcomes: list[float], step: int | None = None) -> Any:
        batch = make_batch(list(prompts), unit(*degrees), outcomes, step=step)
        effects = score(self.state, batch, write=True)
        number = self.state.position + 1
        self.state.apply(seal(Record(0, number, batch, effects, self.state.serial, self.state.chain))[0])
        return effects

    def held(self, side: str = "success") -> list[list[tuple[int, int]]]:
        """For each prompt its entries, as (angle, count)."""
        memory = self.state.memories[side]
        assert isinstance(memory, CuratedMemory)
        return [
            [(angle_of(memory.completions.take(np.array([row]))[0]), int(memory.count[row])) for row in rows]
            for rows in memory.entries.values()
        ]


MEMORY = ("merge_similarity", "decay_steps", "max_age", "eviction")


def angle_of(row: np.ndarray) -> int:
    return round(math.degrees(math.atan2(row[1], row[0])))


def test_a_repeated_completion_raises_the_count_of_the_nearest_entry() -> None:
    run = Lived(merge_similarity=math.cos(math.radians(11)))
    effects = run.tell("AAAAB", [0, 40, 9, 33, 0], [RIGHT] * 5)
    assert run.held() == [[(0, 2), (40, 2)], [(0, 1)]]
    assert isinstance(effects.success, CuratedWrites)
    assert (effects.success.merged, effects.sizes["success"]) == (2, [2, 3])
    run.tell("A", [1], [RIGHT])
    assert run.held()[0] == [(0, 3), (40, 2)]


def test_the_count_weighs_the_centroid() -> None:
    run = Lived(merge_similarity=0.999, order="read_first")
    run.tell("AAAA", [0, 0, 0, 90], [RIGHT] * 4)
    effects = run.tell("A", [0], [WRONG])
    assert effects.raw["exploit"][0] == pytest.approx(-math.hypot(0.25, 0.25))
    assert effects.support["success"].tolist() == [4]


def test_siblings_that_merged_hold_out_one_completion_each() -> None:
    run = Lived(merge_similarity=0.999)
    twins = run.tell("AA", [0, 0], [RIGHT, RIGHT])
    assert twins.raw["exploit"].tolist() == pytest.approx([0, 0])
    assert twins.support["success"].tolist() == [1, 1]
    alone = Lived(merge_similarity=0.999).tell("AA", [0, 50], [RIGHT, WRONG])
    assert alone.support["success"].tolist() == [0, 0]
    assert np.isnan(alone.raw["exploit"]).all()


def test_what_repeats_a_known_failure_meets_it() -> None:
    run = Lived(merge_similarity=0.999)
    run.tell("AA", [0, 60], [WRONG, WRONG])
    effects = run.tell("AA", [0, 30], [WRONG, WRONG])
    # the first leaves one of the two at 0 and meets the other; the second is its own entry, which it passes over
    assert effects.raw["explore"].tolist() == pytest.approx([0, 1 - math.cos(math.radians(30))], abs=1e-6)


def test_an_old_entry_weighs_less_and_all_old_ones_alike() -> None:
    run = Lived(decay_steps=10.0, order="read_first")
    run.tell("A", [0], [RIGHT], step=0)
    run.tell("A", [90], [RIGHT], step=20)
    weight = math.exp(-2)
    mean = [weight / (1 + weight), 1 / (1 + weight)]
    assert run.tell("A", [0], [WRONG], step=20).raw["exploit"][0] == pytest.approx(-math.dist([1, 0], mean))
    assert run.tell("A", [0], [WRONG], step=10**9).raw["exploit"][0] == pytest.approx(-math.sqrt(0.5))


def test_decay_is_one_now_and_never_nothing() -> None:
    assert decay(np.array([-5, 0, 3, 10**12]), 3.0).tolist() == [1.0, 1.0, math.exp(-1), 1e-12]
    assert decay(np.array([0, 7]), None).tolist() == [1.0, 1.0]


def test_what_is_too_old_leaves_before_anything_is_read_and_a_repeat_keeps_it_young() -> None:
    run = Lived(max_age=5, merge_similarity=0.999)
    run.tell("AAB", [0, 50, 0], [RIGHT] * 3, step=0)
    run.tell("A", [0], [RIGHT], step=4)
    effects = run.tell("AB", [80, 80], [WRONG, WRONG], step=6)
    assert effects.support["success"].tolist() == [2, 2]
    assert run.held() == [[(0, 2)]]
    assert effects.sizes["success"] == [1, 1]
    assert run.tell("A", [80], [WRONG], step=10).sizes["success"] == [0, 0]


def test_requests_without_a_step_age_by_the_steps_committed() -> None:
    run = Lived(max_age=2)
    sizes = [run.tell("A", [angle], [RIGHT]).sizes["success"][1] for angle in (0, 20, 40, 60, 80)]
    assert sizes == [1, 2, 3, 3, 3]
    assert State(config()).now(7) == 7


def test_a_request_without_a_step_takes_place_at_the_newest_step_named() -> None:
    run = Lived(max_age=2)
    run.tell("A", [0], [RIGHT], step=100)
    assert run.state.now(None) == 100
    assert run.tell("B", [0], [RIGHT]).sizes["success"] == [2, 2]


def test_the_least_valuable_entry_leaves_and_never_the_one_that_came() -> None:
    run = Lived(merge_similarity=0.999, eviction="value", max_completions=2)
    run.tell("AAAA", [0, 0, 40, 80], [RIGHT] * 4)
    assert run.held() == [[(0, 2), (80, 1)]]
    first_in = Lived(merge_similarity=0.999, max_completions=2)
    first_in.tell("AAAA", [0, 0, 40, 80], [RIGHT] * 4)
    assert first_in.held() == [[(40, 1), (80, 1)]]


def test_age_takes_value_from_what_was_common_once() -> None:
    run = Lived(merge_similarity=0.999, eviction="value", max_completions=2, decay_steps=1.0)
    run.tell("AAA", [0, 0, 0], [RIGHT] * 3, step=0)
    run.tell("A", [40], [RIGHT], step=5)
    run.tell("A", [80], [RIGHT], step=5)
    assert run.held() == [[(40, 1), (80, 1)]]


def test_the_least_valuable_prompt_leaves_with_all_its_entries() -> None:
    run = Lived(eviction="value", max_prompts=2)
    run.tell("AAAB", [0, 10, 20, 0], [RIGHT] * 4, step=0)
    run.tell("CC", [30, 50], [RIGHT] * 2, step=1)
    assert run.held() == [[(0, 1), (10, 1), (20, 1)], [(30, 1), (50, 1)]]
    run.tell("D", [70], [RIGHT], step=2)
    assert [len(entries) for entries in run.held()] == [3, 1]


def test_a_view_leaves_the_memory_as_it_was() -> None:
    rng = np.random.default_rng(2)
    run = Lived(
        merge_similarity=0.5, max_age=3, eviction="value", decay_steps=2.0, max_prompts=3, max_completions=2, k=3
    )
    for step in range(20):
        batch, before = replace(random_batch(rng, 5, 20), step=step), run.state.digest()
        effects = score(run.state, batch, write=True)
        assert run.state.digest() == before
        record = Record(0, run.state.position + 1, batch, effects, run.state.serial, run.state.chain)
        run.state.apply(seal(record)[0])
        memory = run.state.memories["success"]
        assert isinstance(memory, CuratedMemory)
        assert effects.sizes["success"] == [len(memory.number), memory.completion_count]
        shown = CuratedView(memory, unit_rows(rng, 1), step)
        assert shown.prompt_count == len(memory.number)
        live = memory.live_rows()
        assert memory.prompts.tallies()[1].sum() == memory.count[live].sum()


# Where it does not go, and what it leaves alone


def test_memory_quality_needs_no_word_of_it_in_the_record_where_it_is_off() -> None:
    chosen = config()
    effects = score(State(chosen), random_batch(np.random.default_rng(0), 3, 9), write=True)
    assert set(vars(effects.success)) == {"item", "prompt", "drops_prompt", "drops_entry"}
    assert not chosen.memory.curates
    assert chosen.memory.model_dump() == {}
