"""What a run knows of its prompts, as a page, as one prompt's history and over steps; and how a prompt is forgotten."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from memr_client import RewardClient
from memr_client.errors import Conflict, InvalidRequest, UnknownPrompt, UnknownRun
from memr_client.schemas import KnownPrompt
from memr_service.app import create_app
from memr_service.insight.dashboard import queries, visits
from memr_service.settings import Settings
from starlette.testclient import TestClient

M, G, D = 12, 4, 6
IDS = [f"q{number}" for number in range(M)]
TEXTS = [f"What is {number} + 1?" for number in range(M)]
RIGHT = {0: G, 1: 0, 2: 2}
"""Of the first prompts: how many completions of each group are right."""


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Iterator[RewardClient]:
    monkeypatch.setattr("memr_service.planning.plan.RETIRED", 0.8)  # .9 takes 32 prompts that are known
    with RewardClient.embedded(run="run", encoder="hashed") as client:
        yield client


def visit(client: RewardClient, number: int, prompts: list[int], run: str = "run", **columns: Any) -> Any:
    """A group of each prompt in one request."""
    items = [prompt for prompt in prompts for _ in range(G)]
    rows = np.random.default_rng(99).normal(size=(M, D))
    return client.reward(
        [TEXTS[item] for item in items],
        [f"answer {number}.{place}" for place in range(len(items))],
        [float(place % G < RIGHT.get(item, 1)) for place, item in enumerate(items)],
        run_id=run,
        embeddings={"prompts": rows[items], "completions": np.random.default_rng(number).normal(size=(len(items), D))},
        **({"step": number, "prompt_ids": [IDS[item] for item in items]} | columns),
    )


def trained(client: RewardClient, steps: int = 6, **config: Any) -> None:
    client.create_run("run", group_size=G, **config)
    client.set_pool("run", IDS)
    for number in range(steps):
        visit(client, number, [0, 1, 2, 3 + number % 2])


def named(client: RewardClient, name: str, run: str = "run") -> KnownPrompt:
    return next(one for one in client.prompts(run, limit=200).rows if one.prompt_id == name)


def test_prompts_are_listed_as_a_plan_sees_them(client: RewardClient) -> None:
    trained(client)
    found, plan = client.prompts("run"), client.plan("run", M, G)
    assert (found.matching, len(found.rows), found.group_size, found.searched) == (M, M, G, None)
    rows = {one.prompt_id: one for one in found.rows}
    for pick in plan.picks:
        row = rows[pick.prompt_id]
        names = ("p", "low", "high", "spread", "visits", "source")
        assert [getattr(row, name) for name in names] == [getattr(pick, name) for name in names]
    assert (found.kinds.solved, found.kinds.impossible) == (plan.retired.solved, plan.retired.impossible)
    assert found.kinds.model_dump() == {"solved": 1, "learnable": 3, "impossible": 1, "unseen": 7}
    assert sum(found.histogram) == 5
    assert rows["q0"].prompt == TEXTS[0]
    assert (rows["q9"].prompt, rows["q9"].step, rows["q9"].kind) == (None, None, "unseen")


def test_the_list_is_filtered_sorted_searched_and_paged(client: RewardClient) -> None:
    trained(client)
    names = lambda **page: [one.prompt_id for one in client.prompts("run", **page).rows]  # noqa: E731
    assert names(kind="solved") == ["q0"]
    assert names(kind="impossible") == ["q1"]
    assert sorted(names(visited=True)) == ["q0", "q1", "q2", "q3", "q4"]
    assert sorted(names(visited=False)) == sorted(IDS[5:])
    assert names(sort="p", visited=True)[0] == "q0"
    assert names(sort="p", ascending=True)[0] == "q1"
    assert names(sort="visits", limit=3, offset=3) == ["q3", "q4", "q5"]
    assert names(text="IS 3 +") == ["q3"]
    assert names(text="q11") == ["q11"]
    assert client.prompts("run", text="nothing").searched == M
    with pytest.raises(InvalidRequest, match="cannot be sorted by 'age'"):
        client.prompts("run", sort="age")
    with pytest.raises(InvalidRequest, match="limit"):
        client.prompts("run", limit=201)


def test_prompts_outside_the_pool_are_listed_without_an_id_and_prior_ones_with_their_source(
    client: RewardClient,
) -> None:
    client.create_run("earlier")
    visit(client, 0, [0, 5], "earlier")
    client.create_run("run", prior_runs=["earlier"])
    client.set_pool("run", ["q0"])
    visit(client, 0, [7])
    rows = client.prompts("run").rows
    assert sorted((one.prompt_id or "", one.source, one.visits) for one in rows) == [
        ("", "own", 1),
        ("", "prior", 0),
        ("q0", "prior", 0),
    ]
    assert client.prompts("run", visited=False).matching == 2


def test_a_prompts_history_has_its_visits_and_records_of_one_step_are_one(client: RewardClient) -> None:
    trained(client, 2)
    visit(client, 2, [2])
    visit(client, 2, [2])
    found = client.prompt("run", named(client, "q2").key)
    assert [(one.step, one.right, one.n) for one in found.visits] == [(0, 2, 4), (1, 2, 4), (2, 4, 8)]
    assert [one.position for one in found.visits] == [2, 3, 5]
    assert {one.p for one in found.visits} == {0.5}
    assert found.prompt == named(client, "q2")
    assert (found.first_position, found.position) == (1, 5)
    with pytest.raises(UnknownPrompt, match="knows nothing"):
        client.prompt("run", "0" * 32)
    with pytest.raises(InvalidRequest):
        client.prompt("run", "q2")


def test_pass_rates_over_steps_end_with_what_the_list_says(client: RewardClient) -> None:
    trained(client, 8)
    found, now = client.pass_rates("run"), client.prompts("run")
    assert [one.step for one in found.rows] == [*range(8)]
    last = found.rows[-1]
    assert (last.histogram, last.solved, last.learnable, last.impossible) == (now.histogram, 1, 3, 1)
    visit(client, 8, [5])
    assert client.pass_rates("run").rows[-1].step == 8
    assert client.pass_rates("run").rows[:8] == found.rows


def test_a_restored_run_shows_its_own_history(client: RewardClient) -> None:
    trained(client, 2)
    client.create_checkpoint("run", "two")
    visit(client, 2, [0])
    key = named(client, "q0").key
    assert len(client.prompt("run", key).visits) == 3
    client.restore("run", "two")
    assert len(client.prompt("run", key).visits) == 2
    visit(client, 5, [0])
    assert [one.step for one in client.prompt("run", key).visits] == [0, 1, 5]


def test_of_a_long_run_the_newest_records_are_followed(client: RewardClient, monkeypatch: Any) -> None:
    monkeypatch.setattr(queries, "NEWEST_VISITS", 3)
    monkeypatch.setattr(visits, "POINTS", 2)
    trained(client, 9)
    found = client.prompt("run", named(client, "q0").key)
    assert (found.first_position, [one.step for one in found.visits]) == (8, [6, 7, 8])
    for number in range(9, 19):
        visit(client, number, [0])
    rows = client.pass_rates("run").rows
    assert len(rows) <= 5
    assert rows[-1].step == 18


def test_a_forgotten_prompt_is_as_new_and_its_completions_stay(client: RewardClient) -> None:
    trained(client)
    before, as_of = client.run("run"), {"position": 7, "step": 6}
    plan = client.plan("run", M, G, **as_of)
    key = named(client, "q0").key
    client.forget_prompt("run", key)
    after = client.run("run")
    assert (after.position, after.memory) == (before.position + 1, before.memory)
    row = named(client, "q0")
    assert (row.visits, row.source, row.kind, row.step, row.prompt) == (0, "none", "unseen", None, TEXTS[0])
    assert client.prompt("run", key).visits == []
    assert client.plan("run", M, G, **as_of) == plan
    assert visit(client, 9, [0]).baseline == [None] * G
    assert len(client.prompt("run", key).visits) == 1
    with pytest.raises(UnknownPrompt):
        client.forget_prompt("run", named(client, "q9").key)
    assert client.run("run").position == before.position + 2


@pytest.mark.slow
def test_forgetting_is_a_record_that_restarts_forks_and_exports_keep(tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path}/data"
    with RewardClient.embedded(store, run="run", encoder="hashed") as client:
        trained(client, 3)
        client.forget_prompt("run", named(client, "q0").key)
        visit(client, 3, [3])
        digest, plan = client.run("run", digest=True).digest, client.plan("run", M, G)
        client.export_run("run", tmp_path / "run.memr")
        client.fork("run", "copy")
        assert client.run("copy", digest=True).digest == digest
        client.create_run("next", prior_runs=["run"])
        assert sorted(one.visits for one in client.prompts("next").rows) == [0] * 4
    with RewardClient.embedded(store, run="run", encoder="hashed") as client:
        assert client.run("run", digest=True).digest == digest
        assert client.plan("run", M, G) == plan
        client.import_run("again", tmp_path / "run.memr")
        assert client.run("again", digest=True).digest == digest
        assert client.plan("again", M, G) == plan


def test_a_forgotten_prompt_counts_no_more_where_the_journal_is_counted_again(client: RewardClient) -> None:
    trained(client, 3)
    client.forget_prompt("run", named(client, "q0").key)
    client.create_run("next", prior_runs=["run"], success_threshold=0.5, failure_threshold=0.5)
    assert client.reward(["x"], ["y"], [1], run_id="next", prompt_ids=["q0"], mode="eval").baseline == [None]
    assert client.reward(["x"], ["y"], [1], run_id="next", prompt_ids=["q2"], mode="eval").baseline == [0.5]
    visit(client, 3, [0, 2])
    assert client.backtest("run").known == 8  # 9 if it were still known


def test_a_key_that_reads_may_look_and_not_forget(tmp_path: Path) -> None:
    key = {"name": "reader", "scope": "read", "sha256": hashlib.sha256(b"k").hexdigest()}
    (tmp_path / "keys.json").write_text(json.dumps([key]))
    app = create_app(Settings(store="memory:", encoder="hashed", preload=False, keys_file=tmp_path / "keys.json"))
    with TestClient(app, headers={"X-API-Key": "k"}) as client:
        assert client.get("/runs/none/prompts").status_code == 404
        assert client.delete(f"/runs/none/prompts/{'0' * 32}").status_code == 403


def test_runs_that_do_not_exist_and_empty_runs(client: RewardClient) -> None:
    for ask in (client.prompts, client.pass_rates, lambda run: client.prompt(run, "0" * 32)):
        with pytest.raises(UnknownRun):
            ask("none")
    client.create_run("run")
    assert client.prompts("run").rows == client.pass_rates("run").rows == []


def judged(client: RewardClient) -> Any:
    return next(one for one in client.audits("run").audits if one.name == "plan_calibration")


def swapped(client: RewardClient, steps: range) -> None:
    """Groups of prompts that are solved at one step and mixed at the next, so that nothing can be foreseen."""
    rng = np.random.default_rng(0)
    for number in steps:
        items = [prompt for prompt in range(M) for _ in range(G)]
        mixed = [float(place % 2) if number % 2 else 1.0 for place in range(len(items))]
        columns = {"prompts": np.eye(M)[items], "completions": rng.normal(size=(len(items), M))}
        client.reward(
            [TEXTS[item] for item in items],
            ["answer"] * len(items),
            mixed,
            run_id="run",
            step=number,
            prompt_ids=[IDS[item] for item in items],
            embeddings=columns,
        )


@pytest.mark.slow
def test_an_alarm_tells_where_plans_rest_on_wrong_pass_rates() -> None:
    with RewardClient.embedded(run="run", encoder="hashed", audits={"least": 1, "window": 64}) as client:
        client.create_run("run", group_size=G)
        swapped(client, range(16))
        assert (judged(client).state, judged(client).value) == ("unknown", None)
        swapped(client, range(16, 20))
        assert judged(client).state == "ok"
        client.set_pool("run", IDS)
        found = judged(client)
        assert found.state == "alarm"
        assert found.value > found.limit == 0.15
        seen = client.audits("run").recent.spread
        assert (seen.groups, seen.seen) == (19 * M, pytest.approx(10 / 19))


def test_the_metrics_count_the_prompts_of_pools_and_the_groups_with_spread() -> None:
    with TestClient(create_app(Settings(store="memory:", encoder="hashed", preload=False))) as server:
        metric = lambda: {  # noqa: E731
            line.rpartition(" ")[0]: line.rpartition(" ")[2]
            for line in server.get("/metrics").text.splitlines()
            if line.startswith(("memr_pool", "memr_spread"))
        }
        assert metric()["memr_spread_share"] == "NaN"
        server.put("/runs/run", json={"group_size": G})
        texts = [TEXTS[item] for item in (0, 1, 2) for _ in range(G)]
        sent = {"run_id": "run", "prompts": texts, "completions": texts, "outcomes": [1] * 4 + [0] * 4 + [1, 0] * 2}
        server.post("/reward", json=sent | {"prompt_ids": [IDS[item] for item in (0, 1, 2) for _ in range(G)]})
        assert metric()['memr_pool_prompts{kind="unseen"}'] == "0.0"
        server.put("/runs/run/pool", json={"prompt_ids": IDS[:2] + IDS[5:8]})
        found = metric()
        assert float(found["memr_spread_share"]) == pytest.approx(1 / 3)
        assert found['memr_pool_prompts{kind="unseen"}'] == "3.0"
        assert sum(float(value) for name, value in found.items() if name.startswith("memr_pool")) == 5


def test_a_run_of_an_earlier_law_says_why_it_has_no_pass_rates(client: RewardClient, monkeypatch: Any) -> None:
    monkeypatch.setattr("memr_service.engine.planner.PASS_RATES", 99)
    client.create_run("run")
    with pytest.raises(Conflict, match="no pass rates"):
        client.prompts("run")


def test_a_prompts_history_has_its_answers(client: RewardClient) -> None:
    client.create_run("run", preset="memory-r+", extract="numeric")
    for step, said in enumerate((["5", "5", "6", "7"], ["5", "6", "6", "6"])):
        texts, right = [f"It is {one}." for one in said], [float(one == "5") for one in said]
        client.reward(["2 + 3?"] * 4, texts, right, step=step, references=["5"] * 4)
    (known,) = client.prompts("run").rows
    found = client.prompt("run", known.key)
    assert (found.reference, len(found.visits)) == ("5", 2)
    assert [(one.answer, one.completions, one.visits, one.right, one.wrong) for one in found.answers] == [
        ("6", 4, 2, 0, 4),
        ("5", 3, 2, 3, 0),
        ("7", 1, 1, 0, 1),
    ]
    assert [one.serial for one in found.answers] == [7, 4, 3]


def test_a_prompt_without_answers_has_none(client: RewardClient) -> None:
    trained(client, 2)
    for prompt in (IDS[0], IDS[9]):
        found = client.prompt("run", named(client, prompt).key)
        assert (found.reference, found.answers) == (None, [])
