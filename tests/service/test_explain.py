"""An explanation has the numbers of the response, from what was read at the time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from memr_client import RewardClient
from memr_client.errors import InvalidRequest, UnknownRun
from memr_client.schemas import Explanation
from memr_service.insight.limits import number as in_words
from support.cases import slow_after

D = 16


def batch(number: int, n: int = 8) -> dict[str, Any]:
    rng = np.random.default_rng(number)
    prompts = [f"prompt {int(one)}" for one in rng.integers(4, size=n)]
    rows = {name: np.random.default_rng(len(name) + int(name[-1])).normal(size=D) for name in prompts}
    return {
        "prompts": prompts,
        "completions": [f"completion {number}.{item}" for item in range(n)],
        "outcomes": rng.integers(2, size=n).tolist(),
        "step": 100 + number,
        "embeddings": {"prompts": np.stack([rows[name] for name in prompts]), "completions": rng.normal(size=(n, D))},
    }


CONFIGS: list[dict[str, Any]] = [
    {"k": 2},
    {"order": "read_first", "scaling": "request", "window": 9},
    {"preset": "official-memory-r+", "explore_warmup_prompts": 0},
    {"barrier": "snapshot", "group_size": 3},
    {"max_completions": 5, "memory": {"merge_similarity": 0.6}},
    {
        "max_spread": 0.3,
        "components": {
            "exploit": {"weight": 0.5, "guards": {"topic_floor": 0.1, "cap": 0.2}},
            "explore": {"weight": 2.0, "bounds": "p5-p95", "guards": {"anneal": [100, 140]}},
            "banded_novelty": 0.1,
        },
    },
]


@pytest.mark.parametrize("config", slow_after(2, CONFIGS), ids=str)
def test_a_stored_item_is_explained_by_the_numbers_it_was_answered_with(config: dict[str, Any]) -> None:
    with RewardClient.embedded(run="run", encoder="hashed") as client:
        client.create_run(explore_warmup_steps=3, **config)
        batches = [batch(number) for number in range(20)]
        answers = [client.reward(**one) for one in batches]
        before = client.run(digest=True)
        for number, item in ((0, 0), (9, 3), (19, 7), (19, 0)):
            answer, explained = answers[number], client.explain(position=number + 1, item=item, neighbours=200)
            assert explained.reward == answer.rewards[item]
            assert (explained.position, explained.outcome) == (number, batches[number]["outcomes"][item])
            assert explained.prompt == batches[number]["prompts"][item]
            assert explained.completion == f"completion {number}.{item}"
            assert sum(
                one.contribution for one in explained.components.values()
            ) - explained.held_to_spread == pytest.approx(explained.reward, abs=1e-12)
            assert explained.account[-1].endswith(f" a reward of {in_words(explained.reward)}.")
            for name, one in explained.components.items():
                assert (one.raw, one.scaled) == (
                    answer.components[name].raw[item],
                    answer.components[name].scaled[item],
                )
                assert [f"{name}:{reason}" for reason in one.rejected] == [
                    reason for reason in answer.guards.rejected[item] if reason.startswith(f"{name}:")
                ]
            assert explained.success.completions == answer.support.success[item]
            assert explained.failure.completions == answer.support.failure[item]
        assert client.run(digest=True) == before


def test_the_reads_agree_with_the_raw_values_and_the_window_with_the_scaled_one() -> None:
    with RewardClient.embedded(run="run", encoder="hashed") as client:
        client.create_run(explore_warmup_steps=0, k=3, window=20)
        for number in range(12):
            client.reward(**batch(number))
        for item in range(8):
            explained = client.explain(position=12, item=item, neighbours=200)
            exploit, explore = explained.components["exploit"], explained.components["explore"]
            assert explained.success.centroid_distance == pytest.approx(-(exploit.raw or 0), abs=1e-6)
            assert explained.failure.largest_cosine == pytest.approx(1 - (explore.raw or 0), abs=1e-6)
            for one in (exploit, explore):
                assert one.window is not None
                assert one.raw is not None
                assert one.window.count == 20
                low, high = one.window.low, one.window.high
                assert one.scaled == pytest.approx((one.raw - low) / (high - low + 1e-8))
            for reading, outcome in ((explained.success, 1.0), (explained.failure, 0.0)):
                similarities = [one.similarity for one in reading.neighbours]
                assert similarities == sorted(similarities, reverse=True)
                assert {one.outcome for one in reading.neighbours} == {outcome}
                assert sum(one.count for one in reading.neighbours) == reading.completions
                assert 12 * 8 - 8 + item not in [one.serial for one in reading.neighbours]


def test_a_serial_number_and_a_position_with_an_item_give_the_same_explanation() -> None:
    with RewardClient.embedded(run="run", encoder="hashed") as client:
        client.create_run(explore_warmup_steps=0)
        for number in range(6):
            client.reward(**batch(number, n=3 + number))
        assert client.explain(serial=3 + 4 + 2) == client.explain(position=3, item=2)
        for neighbour in client.explain(serial=20).success.neighbours:
            assert client.explain(serial=neighbour.serial).completion == neighbour.completion


def test_merged_completions_count_as_completions_and_as_one_entry() -> None:
    with RewardClient.embedded(run="run", encoder="hashed") as client:
        client.create_run(memory={"merge_similarity": 0.9})
        client.reward(["2 + 3?"] * 4, ["it is 5", "it is 5", "it is 5", "five, of course"], [1] * 4)
        read = client.explain(prompt="2 + 3?", completion="it is 5").success
        assert (read.completions, read.entries) == (4, 2)
        assert [one.count for one in read.neighbours] == [3, 1]


def test_neighbours_come_with_their_texts_and_steps() -> None:
    with RewardClient.embedded(run="run", encoder="hashed") as client:
        client.create_run(explore_warmup_steps=0)
        for number in range(10):
            client.reward(**batch(number))
        explained = client.explain(position=10, item=2, neighbours=200)
        neighbours = [*explained.success.neighbours, *explained.failure.neighbours]
        assert len(neighbours) > 10
        for one in neighbours:
            assert one.completion == f"completion {one.serial // 8}.{one.serial % 8}"
            assert one.step == 100 + one.serial // 8
            assert one.own_prompt == (one.prompt == explained.prompt)


def test_a_given_text_is_explained_as_eval_mode_would_score_it() -> None:
    with RewardClient.embedded(run="run", encoder="hashed") as client:
        client.create_run(explore_warmup_steps=0, k=2)
        for number in range(5):
            client.reward([f"{number % 3} + 1?"] * 4, [f"it is {number + off}" for off in range(4)], [0, 1, 0, 1])
        one = {"prompt": "1 + 1?", "completion": "it is 11", "outcome": 1.0}
        answer = client.reward([one["prompt"]], [one["completion"]], [1.0], mode="eval")
        before = client.run(digest=True)
        explained = client.explain(**one)
        assert (explained.reward, explained.position) == (answer.rewards[0], answer.position)
        assert explained.components["explore"].raw == answer.components["explore"].raw[0]
        assert explained.success.completions == answer.support.success[0]
        assert client.run(digest=True) == before


def test_texts_that_are_not_kept_are_null() -> None:
    with RewardClient.embedded(run="run", encoder="hashed", text_quota_bytes=0) as client:
        client.create_run()
        for number in range(3):
            client.reward(**batch(number))
        explained = client.explain(position=3, item=1)
        assert explained.prompt is None
        assert explained.success.neighbours
        assert {one.completion for one in explained.success.neighbours} == {None}


@pytest.mark.parametrize(
    ("asked", "error"),
    [
        ({}, "either prompt and completion"),
        ({"prompt": "a"}, "either prompt and completion"),
        ({"prompt": "a", "completion": "b", "position": 1, "item": 0}, "either prompt and completion"),
        ({"position": 1}, "either prompt and completion"),
        ({"position": 1, "item": 0, "serial": 0}, "either prompt and completion"),
        ({"serial": 8}, "no completion 8"),
        ({"position": 9, "item": 0}, "no record 9"),
        ({"position": 1, "item": 8}, "no item 8"),
    ],
)
def test_explaining_an_item_that_does_not_exist_is_refused(asked: dict[str, Any], error: str) -> None:
    with RewardClient.embedded(run="run", encoder="hashed") as client:
        client.create_run()
        client.reward(**batch(0))
        with pytest.raises(InvalidRequest, match=error):
            client.explain(**asked)
        with pytest.raises(UnknownRun):
            client.explain("another", position=1, item=0)


def test_after_a_restore_explanations_do_not_use_the_abandoned_branch() -> None:
    with RewardClient.embedded(run="run", encoder="hashed") as client:
        client.create_run(explore_warmup_steps=0)
        for number in range(4):
            client.reward(**batch(number))
            client.create_checkpoint(None, f"after-{number}")
        client.restore(None, "after-1")
        answer = client.reward(**batch(9))
        explained = client.explain(position=3, item=5, neighbours=200)
        assert (explained.reward, explained.completion) == (answer.rewards[5], "completion 9.5")
        steps = {one.step for one in [*explained.success.neighbours, *explained.failure.neighbours]}
        assert steps <= {100, 101, 109}


# The account


def scored(rewarded: dict[str, Any], *outcomes: float, item: int = -1, **config: Any) -> Explanation:
    """The explanation of an item of two like requests, the second one's last by default."""
    with RewardClient.embedded(run="run", encoder="hashed") as client:
        client.create_run(preset="memory-r+", components={"exploit": rewarded}, **config)
        for number in range(2):
            rows = np.eye(D)[[0] * len(outcomes)] + 0.2 * np.random.default_rng(number).normal(size=(len(outcomes), D))
            client.reward(
                ["q"] * len(outcomes),
                [f"completion {at}" for at in range(len(outcomes))],
                list(outcomes),
                embeddings={"prompts": np.eye(D)[[0] * len(outcomes)], "completions": rows},
                step=number,
            )
        return client.explain(position=2, item=item % len(outcomes))


def test_a_value_that_the_other_side_earns_is_accounted_for() -> None:
    explained = scored({"guards": {"earned_by": "correct"}}, 1.0, 1.0, 0.0)
    first, last = explained.account
    scaled = explained.components["exploit"].scaled
    assert explained.reward == 0
    assert first.startswith(f"exploit pays 0: {scaled:.4g} scaled (raw -0.")
    assert first.endswith(
        ", but only correct completions earn it (earned_by: outcome 0; correct is above success_threshold 0.5)."
    )
    assert last == "That is a reward of 0."


@pytest.mark.parametrize(
    ("guards", "value", "says"),
    [
        ({"topic_floor": 0.99}, None, "at least 0.99"),
        ({"min_chars": 500}, 12, "12 characters, at least 500"),
        ({"max_chars": 3}, 12, "12 characters, at most 3"),
        ({"only_if": "incorrect"}, 1.0, "outcome 1; incorrect is at most success_threshold 0.5"),
        ({"mixed_groups_only": True}, 3, "3 of the group's 3 are right"),
    ],
)
def test_a_guard_that_rejects_is_named_with_its_value_and_limit(
    guards: dict[str, Any], value: float | None, says: str
) -> None:
    explained = scored({"guards": guards}, 1.0, 1.0, 1.0)
    (limit,) = explained.components["exploit"].limits
    assert (limit.name, limit.applied) == (next(iter(guards)), True)
    assert value is None or limit.value == value
    assert says in limit.says
    assert explained.account[0] == f"exploit pays 0: rejected by {limit.name} ({limit.says})."


def test_guards_that_reject_nothing_are_listed_too() -> None:
    guards = {"neighbour_floor": 0.5, "max_copied": 0.9, "max_repetition": 0.9, "cap": 9.0, "anneal": [5, 9]}
    explained = scored({"guards": guards}, 1.0, 1.0, 1.0)
    limits = {one.name: one for one in explained.components["exploit"].limits}
    assert limits.keys() == guards.keys()
    assert not any(one.applied for one in limits.values())
    assert limits["neighbour_floor"].value == explained.success.nearest_prompt == 1
    assert limits["anneal"].says == "step 1 of 5 to 9 leaves a share of 1"


def test_bounds_that_lower_what_is_earned_are_accounted_for() -> None:
    explained = scored({"guards": {"anneal": [0, 2], "cap": 0.01}}, 1.0, 1.0, 1.0, item=1)
    assert explained.reward == 0.01
    assert explained.account[0].endswith(
        "× weight 1, annealed (anneal: step 1 of 0 to 2 leaves a share of 0.5), "
        "cut to the cap (cap: at most 0.01 × the outcome's size, which is 0.01)."
    )


@pytest.mark.parametrize(
    ("outcomes", "limits", "begins"),
    [
        ((1.0, 1.0, 0.0), {"max_spread": 0.1}, "max_spread=0.1 limits the spread of its group's rewards, which is"),
        ((1.0, 1.0, 1.0), {"equal_spread": 0.1}, "All outcomes of its group are equal, and the run's equal_spread=0.1"),
    ],
)
def test_the_limit_on_a_groups_spread_is_accounted_for(
    outcomes: tuple[float, ...], limits: dict[str, Any], begins: str
) -> None:
    explained = scored({"weight": 1.0}, *outcomes, item=0, **limits)
    paid = explained.components["exploit"].contribution
    assert explained.account[-1].startswith(begins)
    assert explained.account[-1].endswith(f"so that {paid:.4g} becomes a reward of {explained.reward:.4g}.")


def test_a_window_of_equal_values_is_told_from_its_lowest_value() -> None:
    flat = scored({"weight": 1.0}, 1.0, 1.0, window=1)
    assert flat.account[0].endswith("; its window has 1 of this value only, which scales to 0.")
    explained = [scored({"weight": 1.0}, 1.0, 1.0, item=item, window=2, scaling="request") for item in (0, 1)]
    lowest = min(explained, key=lambda one: one.reward)
    assert ": the lowest value of the window, which is scaled to 0" in lowest.account[0]
