"""Rewards for logged rollouts: the same as asking by hand, and a summary that says what it rests on."""

from __future__ import annotations

import pytest
from memr_client import RewardClient
from memr_service.cli.rollouts import Rollout, requests
from memr_service.cli.score import score

SENTENCE = "He has twelve apples and gives some of them away, so fewer of them are left than before. "


def logged(prompts=4, each=3, **fields):
    """Rollouts of several prompts, each with right and wrong completions."""
    return [
        Rollout(line=1 + p * each + c, prompt=f"prompt {p}", completion=f"completion {p} {c}", outcome=c % 2, **fields)
        for p in range(prompts)
        for c in range(each)
    ]


@pytest.fixture
def client():
    with RewardClient.embedded(encoder="hashed", run="run") as client:
        yield client


def run_score(client, rollouts, by="prompt", **config):
    client.create_run("run", explore_warmup_steps=config.pop("explore_warmup_steps", 0), **config)
    rows, counted = [], []
    done = score(client, "run", requests(rollouts, by), rows.extend, counted.append)
    return done, rows, counted


def test_rewards_are_those_of_one_request_per_group_in_file_order(client):
    rollouts = logged()
    _, rows, counted = run_score(client, rollouts)
    client.create_run("by-hand", explore_warmup_steps=0)
    expected = []
    for first in range(0, 12, 3):
        group = rollouts[first : first + 3]
        answer = client.reward(
            [line.prompt for line in group],
            [line.completion for line in group],
            [line.outcome for line in group],
            run_id="by-hand",
        )
        expected += answer.rewards
    assert [row["reward"] for row in rows] == expected
    assert [row["line"] for row in rows] == list(range(1, 13))
    assert counted == [3, 3, 3, 3]


def test_a_row_has_every_component_raw_and_scaled_and_the_support(client):
    _, rows, _ = run_score(client, logged(), components={"exploit": 1.0, "explore": 2.0})
    names = ["line", "prompt", "completion", "outcome", "step", "prompt_id", "group_id", "reward"]
    values = ["exploit_raw", "exploit_scaled", "explore_raw", "explore_scaled", "support_success", "support_failure"]
    assert list(rows[-1]) == names + values
    for row in rows:
        assert row["reward"] == pytest.approx(row["exploit_scaled"] + 2 * row["explore_scaled"])


def test_by_step_all_groups_of_a_step_are_one_request_and_its_step_is_sent(client):
    rollouts = logged(prompts=2, step=7) + logged(prompts=2, step=8)
    done, _, counted = run_score(client, rollouts, by="step")
    assert counted == [6, 6]
    assert client.run().step == 8
    assert done.quantities()[0].groups == 4


def test_prompt_ids_and_group_ids_are_sent(client):
    rollouts = [
        Rollout(prompt=f"wording {n}", prompt_id="same", group_id="g", completion=f"c {n}", outcome=1) for n in range(4)
    ]
    run_score(client, rollouts)
    assert client.run().memory.success.prompts == 1


def test_a_side_is_right_above_the_success_threshold_of_the_run(client):
    rollouts = [Rollout(prompt="q", completion=f"c {n}", outcome=n / 10) for n in range(10)]
    done, _, _ = run_score(client, rollouts, success_threshold=0.75, failure_threshold=0.25)
    assert done.quantities()[0].right.count == 2


def test_the_summary_leaves_out_placeholders_of_components_without_a_value(client):
    done, _, _ = run_score(client, logged(prompts=1), components={"exploit": 1.0})
    reward, raw, scaled = done.quantities()
    # One right completion of three: held out for all, it leaves no exploit to anybody.
    assert (reward.right.count, raw.right.count, scaled.right.count) == (1, 0, 0)


def test_it_says_when_explore_was_off_and_why(client):
    done, _, _ = run_score(client, logged(), explore_warmup_steps=3)
    (remark,) = done.remarks()
    assert "explore was off for the first 9 of 12 completions: it warms up until 3 steps" in remark


def test_it_says_when_nearly_all_outcomes_are_on_one_side(client):
    rollouts = [Rollout(prompt=f"q {n}", completion="c", outcome=int(n == 0)) for n in range(30)]
    done, _, _ = run_score(client, rollouts)
    (remark,) = done.remarks()
    assert remark.startswith("96.7% of the outcomes are wrong")
    assert "success memory stays nearly empty" in remark


def test_it_says_nothing_where_there_is_nothing_to_say(client):
    done, _, _ = run_score(client, logged())
    assert done.remarks() == []


def test_it_says_which_share_of_the_texts_is_cut():
    rollouts = [Rollout(prompt="q", completion=SENTENCE * times, outcome=times % 2) for times in (1, 2, 40, 41)]
    with RewardClient.embedded(run="run") as client:
        done, _, _ = run_score(client, rollouts)
    (remark,) = done.remarks()
    assert remark.startswith("2 of 5 texts (40.0%) are longer than the encoder reads")
