"""Runs that repair: what their requests get, what they remember, and that all of it can be done again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from memr_client import RewardClient
from memr_client.errors import InvalidRequest
from memr_client.schemas import RewardResponse
from memr_service.app import create_app
from memr_service.engine.inputs import identity
from memr_service.insight.backtest import GroupsSeen
from memr_service.insight.calibration.survey import Survey
from memr_service.insight.dashboard.visits import VisitLog
from memr_service.run import archive
from memr_service.settings import Settings
from starlette.testclient import TestClient

PROMPTS = {"3+3": "7", "1+1": "2"}
"""Prompt -> its reference; the first one is wrong."""
G = 4
ROWS = dict(zip(PROMPTS, np.eye(8), strict=False))
CONFIG: dict[str, Any] = {"preset": "memory-r+", "explore_warmup_steps": 0}


@pytest.fixture
def client() -> Iterator[RewardClient]:
    with RewardClient.embedded(run="run", encoder="hashed") as client:
        yield client


def group(client: RewardClient, prompt: str, said: str, step: int, **fields: Any) -> RewardResponse:
    """The rewards of completions of a prompt, each of which says one digit."""
    n, rng = len(said), np.random.default_rng([step, *map(ord, prompt)])
    embeddings = {"prompts": np.tile(ROWS[prompt], (n, 1)), "completions": rng.normal(size=(n, 8))}
    given = {"answers": [*said], "references": [PROMPTS[prompt]] * n, "step": step, "embeddings": embeddings}
    outcomes = [float(one == PROMPTS[prompt]) for one in said]
    return client.reward([prompt] * n, [f"It is {one}." for one in said], outcomes, **(given | fields))


def trained(client: RewardClient, run: str = "run", steps: int = 3, **repair: Any) -> None:
    """In each step a group of each prompt; most of the first prompt contradict its reference."""
    client.create_run(run, repair=repair, **CONFIG)
    for step in range(steps):
        group(client, "3+3", "6667" if step else "6666", step, run_id=run)
        group(client, "1+1", "2223", step, run_id=run)


def test_a_masked_group_earns_nothing_is_not_remembered_and_not_counted(client: RewardClient) -> None:
    trained(client, mode="mask")
    before = client.run("run").memory
    answer = group(client, "3+3", "6677", 3)
    assert answer.outcomes_used == [0.0] * 4
    assert answer.rewards == [0.0] * 4
    assert all(
        why is not None and "'6' in 83% and the reference '7' in 17% of 12" in why for why in answer.repaired or []
    )
    assert answer.guards.rejected == [["exploit:masked", "explore:masked", "memory:masked"]] * 4
    assert answer.why_zero == ["exploit and explore, 4 of 4: rejected as masked"]
    assert answer.memory == before
    again = group(client, "3+3", "7777", 4)
    assert again.baseline == answer.baseline
    other = group(client, "1+1", "2223", 4)
    assert (other.outcomes_used, other.repaired) == ([1.0, 1.0, 1.0, 0.0], [None] * 4)


def test_masked_completions_count_as_neither_right_nor_wrong(client: RewardClient, tmp_path: Path) -> None:
    trained(client, mode="mask")
    group(client, "3+3", "6677", 3)
    client.export_run("run", tmp_path / "run.memr")
    config = client.run("run").config
    survey, backtest, visits = Survey(config, 28), GroupsSeen(config), VisitLog(config, 0, 7)
    with (tmp_path / "run.memr").open("rb") as file:
        for record, _ in archive.read_records(file, archive.read_base(file, archive.read_header(file))):
            survey.add(record, lambda _: {})
            backtest.add(record)
            visits.add(record)
    survey.finish()
    for seen in (survey.topic.seen(), survey.chars.seen(), survey.read.seen()):
        assert (seen.right, seen.wrong) == (10, 10)  # of 28; the newest two groups of the first prompt are masked
    assert [(right, wrong) for _, right, wrong in survey.steps] == [(3, 5), (4, 4), (3, 1)]
    assert backtest.result("run").groups == 5
    found = visits.visits(identity("3+3", None))
    assert [(one.step, one.right, one.n) for one in found] == [(0, 0, 4), (1, 1, 4)]
    assert len(visits.positions(identity("3+3", None))) == 4


def test_a_replaced_outcome_is_what_memories_and_pass_rates_get(client: RewardClient) -> None:
    trained(client, mode="replace")
    before = client.run("run").memory
    answer = group(client, "3+3", "6677", 3, answers=["6", " 6 ", "7", None])
    assert answer.outcomes_used == [1.0, 1.0, 0.0, 0.0]
    assert answer.memory.success.completions == before.success.completions + 2
    assert answer.memory.failure.completions == before.failure.completions + 2
    assert group(client, "3+3", "6", 4).baseline != answer.baseline
    found = client.suspects("run", min_probability=0.0)
    assert found.labels[0].answer == "6"
    assert not found.verdicts  # they are about the outcomes that were sent


def test_an_evaluation_is_judged_as_sent_and_changes_nothing(client: RewardClient) -> None:
    trained(client, mode="replace")
    digest = client.run("run", digest=True).digest
    answer = group(client, "3+3", "6677", 3, mode="eval")
    assert (answer.outcomes_used, answer.repaired) == ([0.0, 0.0, 1.0, 1.0], [None] * 4)
    assert client.run("run", digest=True).digest == digest


def test_a_run_that_does_not_repair_answers_as_before(client: RewardClient) -> None:
    client.create_run("run", **CONFIG)
    for step in range(4):
        answer = group(client, "3+3", "6666", step)
    assert (answer.outcomes_used, answer.repaired) == (None, None)
    with TestClient(create_app(Settings(store="memory:", encoder="hashed", preload=False))) as http:
        body = {"run_id": "run", "prompts": ["q"], "completions": ["a"], "outcomes": [1], "answers": ["1"]}
        assert not {"outcomes_used", "repaired"} & http.post("/reward", json=body).json().keys()
        http.put("/runs/other", json={"repair": {}})
        answered = http.post("/reward", json=body | {"run_id": "other"}).json()
        assert (answered["outcomes_used"], answered["repaired"]) == ([1.0], [None])
        assert (
            http.post(
                "/reward",
                json={**body, "run_id": "other", "prompts": []}
                | {name: [] for name in ("completions", "outcomes", "answers")},
            ).json()["outcomes_used"]
            == []
        )


def test_ranks_of_a_step_get_the_same_decision(client: RewardClient) -> None:
    trained(client, mode="mask")
    parts = [group(client, "3+3", said, 3) for said in ("77", "77", "77")]
    assert all(part.outcomes_used == [0.0, 0.0] and part.rewards == [0.0, 0.0] for part in parts)
    after = group(client, "3+3", "77", 4)
    assert after.outcomes_used == [1.0, 1.0]  # the newest group says 7


def test_an_open_group_keeps_what_was_decided_at_its_first_item(tmp_path: Path) -> None:
    config = {**CONFIG, "barrier": "snapshot", "group_size": G, "repair": {"mode": "mask"}}

    def first(client: RewardClient) -> RewardResponse:
        client.create_run("run", **config)
        group(client, "1+1", "2222", 0, group_ids=["sum"] * 4)
        for step in range(2):
            group(client, "3+3", "6666", step, group_ids=[f"{step}"] * 4)
        return group(client, "3+3", "7", 2, group_ids=["long"])

    def then(client: RewardClient) -> tuple[RewardResponse, RewardResponse]:
        short = group(client, "3+3", "7777", 3, group_ids=["short"] * 4)
        return short, group(client, "3+3", "777", 2, group_ids=["long"] * 3)

    with RewardClient.embedded(f"sqlite:///{tmp_path}", run="run", encoder="hashed") as client:
        assert first(client).outcomes_used == [0.0]
        digest = client.run("run", digest=True).digest
    with RewardClient.embedded(f"sqlite:///{tmp_path}", run="run", encoder="hashed") as client:
        assert client.run("run", digest=True).digest == digest
        short, rest = then(client)
        assert short.outcomes_used == [1.0] * 4  # the newest visit, with one completion, says 7
        assert rest.outcomes_used == [0.0] * 3
        assert rest.memory == short.memory


def test_a_prior_run_that_agrees_opens_the_gate(client: RewardClient) -> None:
    trained(client, "earlier", share=1.0)
    for names, repaired in ((["earlier"], True), (["other"], False)):
        if not repaired:
            client.create_run("other", **CONFIG)
            group(client, "3+3", "5555", 0, run_id="other")
        run = f"after-{names[0]}"
        client.create_run(run, prior_runs=names, repair={"prior_run_agrees": True}, **CONFIG)
        for step in range(3):
            answer = group(client, "3+3", "6666", step, run_id=run)
        assert answer.repaired is not None
        assert (None not in answer.repaired) is repaired


def test_openrlhf_is_paid_and_filtered_by_the_outcomes_that_count() -> None:
    with TestClient(create_app(Settings(store="memory:", encoder="hashed", preload=False))) as http:
        config = {"verifier": "numeric", "extract": "numeric", "repair": {"mode": "replace"}, "memory_weight": 0.0}
        http.put("/runs/run", json=config)
        body = {"query": [f"3 + 3?It is {n}." for n in (6, 6, 6, 7)], "prompts": ["3 + 3?"] * 4, "labels": ["7"] * 4}
        answers = [http.post("/openrlhf/run", json=body).json() for _ in range(3)]
        assert [one["scores"] for one in answers] == [[0.0, 0.0, 0.0, 1.0]] * 2 + [[1.0, 1.0, 1.0, 0.0]]
        assert all(one["rewards"] == one["scores"] == one["extra_logs"]["outcome"] for one in answers)
        assert [one["extra_logs"]["repaired"] for one in answers] == [[0.0] * 4, [0.0] * 4, [1.0] * 4]


def test_official_presets_do_not_repair(client: RewardClient) -> None:
    with pytest.raises(InvalidRequest, match="official"):
        client.create_run("run", preset="official-memory-r", repair={})


def test_an_explanation_and_the_history_have_the_outcome_that_counts(client: RewardClient) -> None:
    trained(client, mode="replace")
    answer = group(client, "3+3", "6677", 3)
    explained = client.explain("run", position=answer.position, item=0)
    assert explained.outcome == 1.0
    assert client.history("run")[-1].outcome_mean == 0.5
