"""Scoring a batch, against plain loops: reads, orders, warm-up, and what an item's values depend on."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from memr_client.schemas import RunConfig
from memr_service.rewards.official import weighted_sum
from memr_service.rewards.score import score
from memr_service.rewards.staging import sides
from memr_service.run.presets import resolve
from memr_service.state.record import GENESIS, Batch, Effects, Record
from memr_service.state.state import State
from support.batches import PlainMemory, config, cosine, make_batch, random_batch, unit_rows
from support.cases import slow_after

CONFIGS: list[dict[str, Any]] = [
    {},
    {"k": 3, "max_prompts": 6, "max_completions": 4},
    {"k": 4, "max_prompts": 8, "max_completions": 50, "storage": "float16", "min_similarity": -0.2},
    {"k": 2, "order": "read_first", "success_threshold": 0.9, "failure_threshold": 0.1},
]

OFFICIAL = resolve(RunConfig(preset="official-memory-r+", explore_warmup_prompts=2, k=2), "memory-r+", "hashed")


def step(state: State, batch: Batch) -> Effects:
    """Score a batch and apply it."""
    effects = score(state, batch, write=True)
    state.apply(Record(0, state.position + 1, batch, effects, state.serial, GENESIS))
    return effects


def lived(chosen: RunConfig, requests: int = 25) -> State:
    state, rng = State(chosen), np.random.default_rng(0)
    for _ in range(requests):
        step(state, random_batch(rng, 12, 12, storage=chosen.storage))
    return state


def only(batch: Batch, item: int) -> Batch:
    """A batch of one of its items."""
    one, zero = slice(item, item + 1), np.zeros(1, "<i4")
    return replace(
        batch,
        keys=batch.keys[one],
        prompts=batch.prompts[batch.prompt_of[one]],
        prompt_of=zero,
        completions=batch.completions[one],
        outcomes=batch.outcomes[one],
        group=zero,
        lengths=zero,
    )


@pytest.mark.parametrize("fields", slow_after(2, CONFIGS))
def test_raw_values_are_those_of_plain_loops_to_ten_digits(fields: dict[str, Any]) -> None:
    chosen, rng = config(**fields), np.random.default_rng(1)
    state, said = State(chosen), np.empty((0, 8), np.float32)
    plain = {side: PlainMemory(chosen.max_prompts, chosen.max_completions) for side in ("success", "failure")}
    for _ in range(25):
        batch = random_batch(rng, 12, 10, storage=chosen.storage)
        asked = score(state, batch, write=False)
        for item, key in enumerate(batch.keys):
            row, a = batch.prompts[batch.prompt_of[item]], batch.completions[item]
            read = {side: plain[side].read(key, row, chosen.k, chosen.min_similarity) for side in plain}
            assert [asked.support[side][item] for side in plain] == [len(read[side]) for side in plain]
            right, wrong = said[read["success"]].astype(np.float64), said[read["failure"]]
            exploit = -math.dist(a.astype(np.float64), right.mean(axis=0)) if len(right) else math.nan
            explore = 1 - max(cosine(a, b) for b in wrong) if len(wrong) else math.nan
            assert asked.raw["exploit"][item] == pytest.approx(exploit, abs=1e-10, nan_ok=True)
            assert asked.raw["explore"][item] == pytest.approx(explore, abs=1e-10, nan_ok=True)
        step(state, batch)
        for item, outcome in enumerate(batch.outcomes.tolist()):
            side = "success" if outcome > chosen.success_threshold else "failure"
            row = batch.prompts[batch.prompt_of[item]]
            plain[side].write(batch.keys[item], row, len(said) + item)
        said = np.concatenate([said, batch.completions])


@pytest.mark.parametrize("fields", slow_after(2, CONFIGS))
def test_an_items_raw_values_do_not_depend_on_the_other_items(fields: dict[str, Any]) -> None:
    chosen = config(**fields)
    state = lived(chosen)
    batch = random_batch(np.random.default_rng(2), 14, 40, storage=chosen.storage)
    together = score(state, batch, write=False)
    for item in range(len(batch)):
        alone = score(state, only(batch, item), write=False)
        for name, raw in together.raw.items():
            np.testing.assert_array_equal(alone.raw[name], raw[item : item + 1])
        assert alone.support["failure"][0] == together.support["failure"][item]


def test_in_the_official_order_raw_values_do_not_depend_on_the_other_items() -> None:
    state = lived(OFFICIAL)
    batch = random_batch(np.random.default_rng(3), 14, 20)
    together = score(state, batch, write=False)
    for item in range(len(batch)):
        alone = score(state, only(batch, item), write=False)
        for name, raw in together.raw.items():
            np.testing.assert_array_equal(alone.raw[name], raw[item : item + 1])


def test_an_item_reads_its_siblings_but_not_itself() -> None:
    rows = unit_rows(np.random.default_rng(4), 3)
    state = State(config())
    effects = step(state, make_batch(["a"] * 3, rows, [0, 0, 0]))
    for item in range(3):
        others = [cosine(rows[item], rows[other]) for other in range(3) if other != item]
        assert effects.raw["explore"][item] == pytest.approx(1 - max(others), abs=1e-12)
    assert effects.support["failure"].tolist() == [2, 2, 2]


def test_a_sibling_with_the_same_text_is_read() -> None:
    row = unit_rows(np.random.default_rng(5), 1)
    effects = step(State(config()), make_batch(["a", "a"], row[[0, 0]], [0, 0]))
    assert effects.raw["explore"].tolist() == [0, 0]


def test_read_first_reads_what_was_there_and_then_writes() -> None:
    rows = unit_rows(np.random.default_rng(6), 2)
    state = State(config(order="read_first"))
    effects = step(state, make_batch(["a", "a"], rows, [0, 1]))
    assert np.isnan(effects.raw["explore"]).all()
    assert effects.sizes == state.sizes() == {"success": [1, 1], "failure": [1, 1]}
    again = step(state, make_batch(["a"], rows[:1], [0]))
    assert again.raw["explore"].tolist() == [0]


@pytest.mark.parametrize(
    ("outcome", "right", "wrong"),
    [(0.9, False, False), (0.91, True, False), (0.1, False, True), (0.11, False, False), (-5, False, True)],
)
def test_an_outcome_is_a_success_above_one_threshold_and_a_failure_up_to_the_other(
    outcome: float, right: bool, wrong: bool
) -> None:
    chosen = config(success_threshold=0.9, failure_threshold=0.1)
    assert [mask.tolist() for mask in sides(chosen, np.array([outcome]))] == [[right], [wrong]]


def test_explore_waits_for_steps_and_then_for_prompts_counted_at_the_start_of_the_request() -> None:
    state = State(config(explore_warmup_steps=2, explore_warmup_prompts=2))
    rows, waits, raw = unit_rows(np.random.default_rng(7), 2), [], []
    for names in (["a", "a"], ["a", "a"], ["b", "b"], ["a", "a"]):
        effects = step(state, make_batch(names, rows, [0, 0]))
        waits.append(effects.warmup)
        raw.append(np.isnan(effects.raw["explore"]).all())
        window = len(state.windows["explore"])
    assert waits == [{"explore": 2}, {"explore": 1}, {"explore": 1}, {"explore": 0}]
    assert raw == [True, True, True, False]
    assert window == 2  # it did not move while explore was off


def test_only_the_components_of_the_run_are_evaluated_and_weighted() -> None:
    rows = unit_rows(np.random.default_rng(8), 4)
    batch = make_batch(["a"] * 4, rows, [1, 1, 0, 0])
    both = step(State(config(components={"exploit": 0.5, "explore": -2.0})), batch)
    np.testing.assert_array_equal(both.rewards, 0.5 * both.scaled["exploit"] - 2.0 * both.scaled["explore"])
    one = step(State(config(components={"explore": 3.0})), batch)
    assert list(one.raw) == list(one.scaled) == ["explore"]
    np.testing.assert_array_equal(one.rewards, 3.0 * one.scaled["explore"])
    assert step(State(config(components={"exploit": 1.0})), batch).warmup == {}


def test_centering_subtracts_each_groups_mean_from_the_scaled_values_only() -> None:
    batch = make_batch(["a", "b", "a", "b", "a"], unit_rows(np.random.default_rng(9), 5), [1, 1, 1, 1, 0])
    plain, centered = (step(State(config(center=center)), batch) for center in ("none", "group"))
    for name, scaled in plain.scaled.items():
        np.testing.assert_array_equal(plain.raw[name], centered.raw[name])
        for members in ([0, 2, 4], [1, 3]):
            expected = scaled[members] - scaled[members].mean()
            np.testing.assert_allclose(centered.scaled[name][members], expected, atol=1e-15)


def test_nothing_is_staged_without_write() -> None:
    state = lived(config())
    batch = random_batch(np.random.default_rng(10), 14, 10)
    effects = score(state, batch, write=False)
    assert len(effects.success.item) == len(effects.failure.item) == 0
    assert effects.sizes == state.sizes()


@pytest.mark.parametrize("chosen", [config(), OFFICIAL], ids=["hold_one_out", "official"])
def test_a_request_without_items_gets_no_rewards(chosen: RunConfig) -> None:
    for state in (State(chosen), lived(chosen)):
        effects = score(state, Batch.empty(8), write=False)
        assert len(effects.rewards) == len(effects.raw["exploit"]) == len(effects.support["success"]) == 0


def test_the_reward_is_the_weighted_sum() -> None:
    scaled = {"exploit": np.array([0.5, 1.0]), "explore": np.array([0.25, 0.0])}
    assert weighted_sum(scaled, {"exploit": 2.0, "explore": -1.0}, 2).tolist() == [0.75, 2.0]
    assert weighted_sum(scaled, {"explore": 4.0}, 2).tolist() == [1.0, 0.0]
    assert weighted_sum({"exploit": np.empty(0)}, {"exploit": 1.0}, 0).tolist() == []


def test_the_sum_of_huge_weights_is_finite() -> None:
    scaled = {"exploit": np.array([1.0, 1.0, 3.0]), "explore": np.array([1.0, 0.0, 0.0])}
    most = np.finfo(np.float64).max
    assert weighted_sum(scaled, {"exploit": 1e308, "explore": 1.5e308}, 3).tolist() == [most, 1e308, most]
