"""A reward of 0 says why: in the response, in a retry, in an explanation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from memr_client import RewardClient
from memr_service.rewards.guards import REASONS
from memr_service.rewards.zeros import LIMIT_OF

EARNED = {"guards": {"earned_by": "correct"}}
D = 8


def batch(*outcomes: float, seed: int = 0, **fields: Any) -> dict[str, Any]:
    n = len(outcomes)
    rows = np.eye(D)[[0] * n] + 0.2 * np.random.default_rng(seed).normal(size=(n, D))
    return {
        "prompts": ["q"] * n,
        "completions": [f"completion {item}" for item in range(n)],
        "outcomes": list(outcomes),
        "embeddings": {"prompts": np.eye(D)[[0] * n], "completions": rows},
        **fields,
    }


@pytest.fixture
def client() -> Any:
    with RewardClient.embedded(run="run", encoder="hashed", default_preset="memory-r+") as client:
        yield client


def test_nothing_has_succeeded_yet_and_the_highest_outcome_is_named(client: RewardClient) -> None:
    answer = client.reward(**batch(0.4, 0.1, 0.0))
    exploit, explore = answer.why_zero
    assert answer.rewards == [0, 0, 0]
    assert exploit == (
        "exploit, 3 of 3: nothing to compare with: there is no success yet, which takes an outcome of more than "
        "success_threshold 0.5; the highest outcome here is 0.4"
    )
    assert explore == "explore, 3 of 3: warming up, 50 to go (first steps, then prompts with failures)"


def test_nothing_has_failed_yet(client: RewardClient) -> None:
    client.create_run(components={"explore": 1.0}, explore_warmup_steps=0)
    (why,) = client.reward(**batch(1.0, 1.0)).why_zero
    assert "there is no failure yet, which takes an outcome of at most failure_threshold 0.5" in why


def test_a_lone_success_has_nothing_to_be_compared_with(client: RewardClient) -> None:
    client.create_run(components={"exploit": 1.0})
    (why,) = client.reward(**batch(1.0)).why_zero
    assert why == "exploit: nothing to compare with: no other success was read"


def test_a_component_that_only_correct_completions_earn(client: RewardClient) -> None:
    client.create_run(components={"exploit": EARNED})
    answer = client.reward(**batch(1.0, 1.0, 1.0, 0.0, 0.25))
    causes = [why.partition(": ")[::2] for why in answer.why_zero]
    assert causes[0] == (
        "exploit, 2 of 5",
        "only correct completions earn it (earned_by), those with an outcome above success_threshold 0.5",
    )
    (why,) = client.reward(**batch(0.0, 0.25), mode="eval").why_zero
    assert why.endswith("; the highest outcome here is 0.25")


def test_a_guard_is_named_with_its_limit(client: RewardClient) -> None:
    client.create_run(components={"exploit": {"guards": {"min_chars": 500, "drop_truncated": True}}})
    answer = client.reward(**batch(1.0, 1.0, truncated=[True, False]))
    assert answer.why_zero == ["exploit, 2 of 2: rejected as too_short by the guard min_chars=500"]
    explained = client.explain(position=1, item=0)
    assert explained.components["exploit"].why_zero == "rejected as too_short by the guard min_chars=500"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"weight": 1.0}, "the lowest value of the window"),
        ({"weight": 1.0, "bounds": "p5-p95"}, "clipped to 0"),
        ({"weight": 0.0}, "its weight is 0"),
        ({"weight": 1.0, "guards": {"cap": 0.5}}, "capped at 0.5 of the outcome's size"),
        ({"weight": 1.0, "guards": {"anneal": [1, 2]}}, "annealed to 0 at step 2"),
    ],
)
def test_what_a_window_a_weight_and_a_bound_make_0_is_told(
    client: RewardClient, options: dict[str, Any], says: str
) -> None:
    client.create_run(components={"exploit": options})
    answer = client.reward(**batch(1.0, 1.0, 1.0, 0.0, 0.0, step=7))
    assert any(says in why for why in answer.why_zero)


def test_rewards_that_are_not_0_need_no_reason(client: RewardClient) -> None:
    client.create_run(components={"exploit": {"weight": 1.0, "guards": {"topic_floor": 0.0}}, "random": 1.0})
    answer = client.reward(**batch(1.0, 1.0, 0.0))
    assert min(answer.rewards) > 0
    assert answer.why_zero == []
    explained = client.explain(position=1, item=0)
    assert explained.why_zero == []
    assert explained.components["random"].why_zero is None


def test_a_sum_that_its_parts_or_its_group_hold_at_0_says_so(client: RewardClient) -> None:
    client.create_run(components={"exploit": 1.0, "random": 1.0}, max_spread=0.5, center="group")
    answer = client.reward(**batch(1.0, 1.0, 1.0))
    assert answer.rewards == pytest.approx([0, 0, 0], abs=1e-12)
    assert all("max_spread=0.5" in why for why in answer.why_zero)
    (why,) = client.reward(**batch(1.0, 1.0, 1.0), equal_spread=0.0).why_zero
    assert why.startswith("the sum, 3 of 3: ")
    assert why.startswith("the sum, 3 of 3: all outcomes of the group are equal, and the request's equal_spread is 0")


def test_groups_that_are_held_to_0_are_told_from_sums_that_are(client: RewardClient) -> None:
    client.create_run(components={"exploit": 1.0}, equal_spread=0.0)
    groups = ["equal", "equal", "mixed", "mixed"]
    client.reward(**batch(1.0, 1.0, 1.0, 0.0), group_ids=groups)
    answer = client.reward(**batch(1.0, 1.0, 1.0, 0.0, seed=1), group_ids=groups)
    assert all(answer.components["exploit"].scaled[:2])
    assert [reward > 0 for reward in answer.rewards] == [False, False, True, False]
    (why,) = [why for why in answer.why_zero if why.startswith("the sum")]
    assert why.startswith("the sum, 2 of 4: all outcomes of the group are equal, and the run's equal_spread is 0")
    assert "equal_spread=0.25" in why
    assert "cancel" not in " ".join(answer.why_zero)


def test_a_retry_is_told_the_same_also_of_a_copy(client: RewardClient, tmp_path: Any) -> None:
    client.create_run(components={"exploit": EARNED})
    first = client.reward(**batch(1.0, 1.0, 0.0), request_id="once")
    assert first.why_zero
    client.export_run("run", tmp_path / "file")
    client.import_run("copy", tmp_path / "file")
    for name in ("run", "copy"):
        assert client.reward(**batch(1.0, 1.0, 0.0), request_id="once", run_id=name).why_zero == first.why_zero


def test_an_explanation_gives_the_reason_for_its_item_alone(client: RewardClient) -> None:
    client.create_run(components={"exploit": EARNED})
    client.reward(**batch(1.0, 1.0, 1.0, 0.0))
    explained = client.explain(position=1, item=3)
    assert explained.why_zero == [
        "exploit: only correct completions earn it (earned_by), those with an outcome above success_threshold 0.5"
    ]


def test_every_reason_of_a_guard_has_its_limit() -> None:
    assert LIMIT_OF.keys() == {*REASONS.values()}
