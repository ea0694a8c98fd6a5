"""Rewards for logged rollouts: equal to those of single requests, with a summary and its remarks."""

from __future__ import annotations

import pytest
from memr_client import RewardClient
from memr_client.errors import InvalidRequest
from memr_client.schemas import RunConfig
from memr_client.schemas.zeros import counted
from memr_service.cli.rollouts import Rollout, requests
from memr_service.cli.scoring import presets, score
from memr_service.cli.summary import comparison
from memr_service.encoder import Encoders, HashedEncoder
from memr_service.run.presets import PRESETS
from rich.console import Console
from support.scored import run_score
from support.turns import GROUP


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
    assert [row["reward"] for row in rows] == pytest.approx(expected, abs=1e-5)
    assert [row["line"] for row in rows] == list(range(1, 13))
    assert counted == [3, 3, 3, 3]


def test_turns_earn_what_they_earn_of_a_service(client):
    config = {"preset": "memory-r+", "unit": "turn"}
    rollouts = [
        Rollout(line=1 + 4 * step + item, prompt="q", completion=said, outcome=1 - item // 2, step=step)
        for step in range(2)
        for item, said in enumerate(GROUP)
    ]
    done, rows, _ = run_score(client, rollouts, "step", **config)
    client.create_run("by-hand", explore_warmup_steps=0, **config)
    expected = [client.reward(["q"] * 4, GROUP, [1, 1, 0, 0], run_id="by-hand", step=step).rewards for step in range(2)]
    assert [row["reward"] for row in rows] == expected[0] + expected[1]
    assert len({*expected[1]}) > 1
    assert (done.texts, done.cut) == (0, 0)


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
    assert done.summary_lines()[0].groups == 4


def test_prompt_ids_and_group_ids_are_sent(client):
    rollouts = [
        Rollout(prompt=f"wording {n}", prompt_id="same", group_id="g", completion=f"c {n}", outcome=1) for n in range(4)
    ]
    run_score(client, rollouts)
    assert client.run().memory.success.prompts == 1


def test_a_side_is_right_above_the_success_threshold_of_the_run(client):
    rollouts = [Rollout(prompt="q", completion=f"c {n}", outcome=n / 10) for n in range(10)]
    done, _, _ = run_score(client, rollouts, success_threshold=0.75, failure_threshold=0.25)
    assert done.summary_lines()[0].right.count == 2


def test_the_summary_leaves_out_placeholders_of_components_without_a_value(client):
    done, _, _ = run_score(client, logged(prompts=1), components={"exploit": 1.0})
    reward, raw, scaled = done.summary_lines()
    # The only right completion of three is held out for every item, so nobody has an exploit value.
    assert (reward.right.count, raw.right.count, scaled.right.count) == (1, 0, 0)


def test_it_says_when_explore_was_off_and_why(client):
    done, _, _ = run_score(client, logged(), explore_warmup_steps=3)
    remark = done.remarks()[0]
    assert "explore was off for the first 9 of 12 completions: it warms up until 3 steps" in remark


def test_it_says_when_nearly_all_outcomes_are_on_one_side(client):
    rollouts = [Rollout(prompt=f"q {n}", completion="c", outcome=int(n == 0)) for n in range(30)]
    done, _, _ = run_score(client, rollouts)
    remark = done.remarks()[0]
    assert remark.startswith("96.7% of the outcomes are wrong")
    assert "success memory stays nearly empty" in remark


def test_it_names_the_lines_with_half_a_surrogate_pair(client):
    lines = [Rollout(line=n, prompt="q", completion=f"a {n}", outcome=n % 2) for n in range(4)]
    done, _, _ = run_score(client, [*lines, lines[1].model_copy(update={"line": 7, "halves": ("completion",)})])
    assert any("U+FFFD in line 7: completion:" in remark for remark in done.remarks())


def test_it_says_nothing_where_there_is_nothing_to_say(client):
    done, _, _ = run_score(client, logged(each=5))
    assert done.remarks() == []


def test_it_counts_the_causes_of_rewards_of_0(client):
    done, _, _ = run_score(client, logged(), components={"exploit": 1.0})
    done.zeros = counted(
        ["exploit, 2 of 3: too short", "exploit, 3 of 3: too short; the longest has 4", "exploit: rare"]
    )
    zero = done.columns["reward"].count(0)
    assert done.remarks() == [f"{zero} of 12 rewards are 0, because:\n  5 x exploit: too short\n  1 x exploit: rare"]


# comparison of presets


class Counting(HashedEncoder):
    """Counts how often each text is encoded."""

    def __init__(self):
        self.seen = []

    def encode(self, texts, precision="float32", long_text="truncate"):
        self.seen += texts
        return super().encode(texts, precision, long_text)


def test_each_text_of_a_request_is_encoded_once_for_all_presets(client, monkeypatch):
    encoder = Counting()
    encoders = Encoders(["hashed"])
    monkeypatch.setattr(encoders, "load", lambda name: encoder)
    names = list(PRESETS)
    for number, name in enumerate(names):
        client.create_run(f"run-{number}", preset=name)
    runs = [f"run-{number}" for number in range(len(names))]
    scores = score(client, encoders, runs, requests(logged(), "prompt"), lambda rows: None, lambda count: None)
    assert sorted(encoder.seen) == sorted({text for one in logged() for text in (one.prompt, one.completion)})
    assert [one.config.preset for one in scores] == names
    for one, run in zip(scores, runs, strict=True):
        client.create_run("alone", one.config)
        rewards = []
        for group in requests(logged(), "prompt"):
            columns = [[getattr(line, name) for line in group] for name in ("prompt", "completion", "outcome")]
            rewards += client.reward(*columns, run_id="alone").rewards
        client.delete_run("alone")
        assert one.columns["reward"] == pytest.approx(rewards, abs=1e-5), run


@pytest.mark.slow
def test_presets_that_cut_texts_differently_each_get_their_own(client):
    rollouts = [
        Rollout(prompt=f"q {n % 3}", completion=f"<t>a{n}</t>mid<t>b{n * n}</t>", outcome=n % 2) for n in range(12)
    ]
    for run, fields in (("one", {}), ("two", {"preset": "official-memory-r+"}), ("three", {"deterministic": True})):
        client.create_run(run, reasoning_tags=("<t>", "</t>"), **fields)
    encoders = Encoders(["hashed"])
    runs = ["one", "two", "three"]
    scores = score(client, encoders, runs, requests(rollouts, "prompt"), lambda rows: None, lambda count: None)
    assert [one.texts for one in scores] == [24, 24, 24]
    for run in runs:
        assert client.run(run).position == 12
    for run, one in zip(runs, scores, strict=True):
        client.create_run("alone", one.config)
        rewards = [client.reward([r.prompt], [r.completion], [r.outcome], run_id="alone").rewards[0] for r in rollouts]
        client.delete_run("alone")
        assert one.columns["reward"] == pytest.approx(rewards, abs=1e-5), run


def test_a_presets_line_says_what_is_paid_to_whom_and_what_was_rejected(client):
    guards = {"min_chars": 14, "only_if": "correct"}
    components = {"exploit": 2.0, "banded_novelty": {"weight": 0.5, "guards": guards}}
    rollouts = [
        Rollout(prompt=f"p{n // 4}", completion="completion" + str(n % 10) * (n % 5), outcome=n % 2) for n in range(40)
    ]
    done, rows, _ = run_score(client, rollouts, components=components)
    line = done.preset_line("mine")
    rewards = [row["reward"] for row in rows]
    groups = [rewards[first : first + 4] for first in range(0, 40, 4)]
    assert line.spread == pytest.approx(sum(max(group) - min(group) for group in groups) / 10)
    assert line.reward.right.mean == pytest.approx(sum(rewards[1::2]) / 20)
    assert line.rejected == {"too_short": 32 / 40, "other_outcome": 20 / 40}
    paid = [2.0 * sum(row["exploit_scaled"] for row in rows), 0.5 * sum(row["banded_novelty_scaled"] for row in rows)]
    assert line.shares["exploit"] == pytest.approx(abs(paid[0]) / (abs(paid[0]) + abs(paid[1])))
    assert sum(line.shares.values()) == pytest.approx(1)
    assert (done.outcome_line().spread, done.outcome_line().reward.auc) == (1.0, 1.0)
    console = Console(width=120, record=True)
    console.print(comparison(done.outcome_line(), [line]))
    shown = console.export_text()
    for told in ("mine", "your outcomes", "too_short 80.00%", "other_outcome 50.00%", f"{line.spread:.3f}"):
        assert told in shown


def test_what_the_gates_keep_out_of_the_memory_is_not_rejected(client):
    done, _, _ = run_score(client, logged(), memory={"gates": {"min_chars": 1000}})
    assert done.preset_line("gated").rejected == {}


def test_all_presets_are_set_side_by_side_that_fit_unless_one_is_named():
    assert list(presets(RunConfig(k=2), None, "hashed")[0]) == list(PRESETS)
    assert presets(RunConfig(preset="memory-r"), None, "hashed") == ({}, [])
    assert list(presets(RunConfig(preset="memory-r"), "random, memory-r", "hashed")[0]) == ["random", "memory-r"]
    fitting, said = presets(RunConfig(max_spread=0.5), None, "hashed")
    assert set(PRESETS) - set(fitting) == {"official-memory-r+", "official-memory-r"}
    assert said[0].startswith("official-memory-r+ does not fit these settings: max_spread needs")
    assert all(config.max_spread == 0.5 for config in fitting.values())


def test_a_preset_that_is_asked_for_must_exist_and_fit():
    with pytest.raises(InvalidRequest, match="no preset 'nonsense'"):
        presets(RunConfig(), "memory-r,nonsense", "hashed")
    with pytest.raises(InvalidRequest, match="max_spread"):
        presets(RunConfig(max_spread=0.5), "official-memory-r", "hashed")
