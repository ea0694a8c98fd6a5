"""An explanation has the numbers of the response, from what was read at the time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from memr_client import RewardClient
from memr_client.errors import InvalidRequest, UnknownRun
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
