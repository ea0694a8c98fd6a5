"""A curated memory: what merges, ages and leaves, against the law in plain Python (`paper_quality`)."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from memr_client.errors import InvalidRequest
from memr_service.memory import CuratedMemory, CuratedView, CuratedWrites
from memr_service.memory.curated import decay
from memr_service.rewards.score import score
from memr_service.state.codec import seal, unseal
from memr_service.state.record import GENESIS, Record
from memr_service.state.state import State
from support.batches import DIMENSION, config, make_batch, random_batch, unit_rows
from support.histories import Request, World, ask_oracle, ask_service, largest_difference
from support.in_process import InProcess
from support.paper import Oracle
from support.paper_quality import QualityOracle

RIGHT, WRONG = 1.0, 0.0
TOLERANCE = 1e-5


def drawn(rng: random.Random) -> dict[str, Any]:
    """A run's config with memory quality options by chance."""
    return {
        "k": rng.choice([1, 3, 20]),
        "max_prompts": rng.choice([1, 3, 9, 30]),
        "max_completions": rng.choice([1, 3, 9]),
        "order": rng.choice(["hold_one_out", "read_first"]),
        "storage": rng.choice(["float32", "float16"]),
        "explore_warmup_steps": rng.choice([0, 3]),
        "components": {
            "exploit": {"weight": 1.0, "centroids": rng.choice([1, 1, 2, 3, "all"])},
            rng.choice(["explore", "value"]): 1.0,
        },
        "memory": {
            "merge_similarity": rng.choice([None, 0.5, 0.9, 1.0]),
            "decay_steps": rng.choice([None, 0.5, 3, 40]),
            "max_age": rng.choice([None, 0, 2, 9]),
            "eviction": rng.choice(["fifo", "value"]),
            "gates": {
                "topic_floor": rng.choice([None, None, 0.4]),
                "drop_truncated": rng.random() < 0.3,
                "agreement": rng.random() < 0.3,
            },
        },
    }


def asked(world: World, rng: random.Random) -> Request:
    """A request of the world, with answers and truncated completions."""
    request = world.request()
    request.answers = [rng.choice([None, "18", "42"]) for _ in request.ids]
    request.truncated = [rng.random() < 0.3 for _ in request.ids]
    return request


@pytest.mark.parametrize("seed", range(40))
def test_the_service_does_what_the_law_says(seed: int) -> None:
    rng, world = random.Random(seed), World(seed)
    given = drawn(rng)
    oracle = QualityOracle(given)
    with InProcess("memory:") as service:
        service.create("run", **given)
        for _ in range(25):
            request = asked(world, rng)
            assert largest_difference(ask_service(service, "run", request), ask_oracle(oracle, request)) <= TOLERANCE


def test_with_all_of_it_off_the_law_of_memory_quality_is_the_law() -> None:
    world, given = World(3), {"k": 2, "max_prompts": 5, "max_completions": 3, "explore_warmup_steps": 0}
    one, other = Oracle(given), QualityOracle(given)
    for _ in range(40):
        request = world.request()
        a, b = ask_oracle(one, request), ask_oracle(other, request)
        assert (a.support, a.sizes) == (b.support, b.sizes)
        assert a.rewards == pytest.approx(b.rewards, abs=1e-9)


@pytest.mark.parametrize("seed", range(8))
def test_a_restart_in_the_middle_changes_no_bit(seed: int, tmp_path: Path) -> None:
    rng = random.Random(100 + seed)
    given, requests = drawn(rng), [asked(world, rng) for world in [World(seed)] for _ in range(20)]
    with InProcess("memory:") as calm:
        calm.create("run", **given)
        undisturbed = [ask_service(calm, "run", request) for request in requests]
        lived = calm.info("run")
    answers = []
    for start, snapshot_bytes in ((0, 2**16), (7, 2**26), (14, 2**16)):  # the first and last leave a snapshot behind
        with InProcess(f"sqlite:///{tmp_path}", snapshot_bytes=snapshot_bytes) as service:
            service.create("run", **given)
            answers += [ask_service(service, "run", request) for request in requests[start : start + 7]]
    with InProcess(f"sqlite:///{tmp_path}") as service:
        assert (service.info("run").chain, service.info("run").digest) == (lived.chain, lived.digest)
    for one in [*answers, *undisturbed]:
        one.pop("timing_ms")
    assert answers == undisturbed


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


def unit(*degrees: float) -> np.ndarray:
    rows = np.zeros((len(degrees), DIMENSION), np.float32)
    rows[:, 0], rows[:, 1] = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return rows


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


@pytest.mark.parametrize(
    "given",
    [
        {"preset": "official-memory-r+", "memory": {"merge_similarity": 0.98}},
        {"preset": "official-memory-r", "memory": {"gates": {"min_chars": 1}}},
        {"preset": "official-memory-r", "components": {"exploit": {"centroids": 2}}},
        {"barrier": "snapshot", "group_size": 2, "memory": {"gates": {"agreement": True}}},
        {"barrier": "snapshot", "group_size": 2, "memory": {"decay_steps": 9.0}},
        {"barrier": "snapshot", "group_size": 2, "components": {"exploit": {"centroids": "all"}}},
    ],
)
def test_what_an_order_or_barrier_cannot_serve_is_refused(given: dict[str, Any]) -> None:
    with InProcess("memory:") as service, pytest.raises(InvalidRequest) as refused:
        service.create("run", **given)
    assert refused.value.remedy


def test_under_the_barrier_snapshot_duplicates_merge_and_the_old_leave() -> None:
    quality = {"merge_similarity": 0.999, "max_age": 3, "eviction": "value"}
    with InProcess("memory:") as service:
        service.create("run", barrier="snapshot", group_size=2, explore_warmup_steps=0, memory=quality)

        def tell(degrees: list[float], outcomes: list[float], step: int) -> dict[str, Any]:
            n = len(degrees)
            rows = {"prompts": unit(*[0] * n), "completions": unit(*degrees)}
            texts = {"prompts": ["A"] * n, "completions": [""] * n}
            return service.reward(run_id="run", outcomes=outcomes, step=step, embeddings=rows, **texts)

        tell([0, 0], [RIGHT, RIGHT], 0)
        tell([40, 40], [WRONG, WRONG], 1)
        answer = tell([0, 40], [RIGHT, WRONG], 2)
        assert answer["support"] == {"success": [2, 2], "failure": [2, 2]}
        assert answer["components"]["exploit"]["raw"][0] == pytest.approx(0, abs=1e-6)
        assert answer["memory"] == {side: {"prompts": 1, "completions": 1} for side in ("success", "failure")}
        assert tell([80, 80], [0.0, 0.0], 9)["support"] == {"success": [0, 0], "failure": [0, 0]}
        assert service.history("run")[0].merged == {"success": 1}


def test_memory_quality_needs_no_word_of_it_in_the_record_where_it_is_off() -> None:
    chosen = config()
    effects = score(State(chosen), random_batch(np.random.default_rng(0), 3, 9), write=True)
    assert set(vars(effects.success)) == {"item", "prompt", "drops_prompt", "drops_entry"}
    assert not chosen.memory.curates
    assert chosen.memory.model_dump() == {}
