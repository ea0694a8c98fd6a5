"""Pools, plans, prior runs and backtests, as a caller uses them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from memr_client import RewardClient, calls
from memr_client.errors import Conflict, InvalidRequest, TooLarge, Unavailable, UnknownRun
from memr_service.app import create_app
from memr_service.settings import Settings
from starlette.testclient import TestClient
from support.cases import slow_after

M, G, D = 40, 4, 6
IDS = [f"q{number}" for number in range(M)]
TEXTS = [f"What is {number} + 1?" for number in range(M)]
RATES = np.random.default_rng(1).beta(0.5, 0.5, M)


@pytest.fixture
def client() -> Iterator[RewardClient]:
    with RewardClient.embedded(run="run", encoder="hashed") as client:
        yield client


def step(client: RewardClient, run: str, number: int, prompts: Any = None, **columns: Any) -> Any:
    """Groups of four of some prompts, with outcomes that depend on the step and the prompts only."""
    rng = np.random.default_rng(number)
    chosen = rng.choice(M, 4, replace=False).tolist() if prompts is None else prompts
    items = [prompt for prompt in chosen for _ in range(G)]
    rows = np.random.default_rng(99).normal(size=(M, D))
    return client.reward(
        [TEXTS[item] for item in items],
        [f"answer {number}.{place}" for place in range(len(items))],
        (rng.random(len(items)) < RATES[items]).astype(float).tolist(),
        run_id=run,
        step=number,
        embeddings={"prompts": rows[items], "completions": rng.normal(size=(len(items), D))},
        **({"prompt_ids": [IDS[item] for item in items]} | columns),
    )


def trained(client: RewardClient, run: str, steps: int = 12, **config: Any) -> None:
    client.create_run(run, group_size=G, **config)
    for number in range(steps):
        step(client, run, number)


def test_the_baseline_is_the_pass_rate_before_the_request(client: RewardClient) -> None:
    client.create_run("run")
    assert step(client, "run", 0, [0, 1]).baseline == [None] * 8
    first = client.completions("run", limit=8, sort="position").rows
    right = sum(one.outcome for one in first if one.prompt == TEXTS[0])
    assert step(client, "run", 1, [0, 2]).baseline == [right / 4] * 4 + [None] * 4
    assert step(client, "run", 2, [0, 3], mode="eval").baseline[4:] == [None] * 4


def test_a_plan_is_of_the_pool_and_says_where_its_pass_rates_come_from(client: RewardClient) -> None:
    trained(client, "earlier", 30)
    client.create_run("run", prior_runs=["earlier"])
    info = client.set_pool("run", IDS)
    assert (info.prompts, info.visited, info.since) == (M, 0, 2)
    assert info.prior > 30
    plan = client.plan("run", 8, 8)
    assert len({one.prompt_id for one in plan.picks}) == 8
    assert {one.source for one in plan.picks} <= {"prior", "none"}
    assert plan.expected_spread == pytest.approx(np.mean([one.spread for one in plan.picks]), abs=1e-5)
    assert all(one.low <= one.p <= one.high for one in plan.picks)
    step(client, "run", 0, [IDS.index(plan.picks[0].prompt_id)])
    assert client.pool("run").visited == 1
    again = client.plan("run", M, 8)
    assert next(one for one in again.picks if one.prompt_id == plan.picks[0].prompt_id).source == "own"


@pytest.mark.slow
def test_planned_groups_have_spread_more_often_than_others(client: RewardClient) -> None:
    trained(client, "earlier", 60)
    client.create_run("run", prior_runs=["earlier"])
    client.set_pool("run", IDS)
    picks = [IDS.index(one.prompt_id) for one in client.plan("run", 10, 8).picks]
    spread = 1 - RATES**8 - (1 - RATES) ** 8
    assert spread[picks].mean() > spread.mean() + 0.1


def test_equal_questions_as_of_equal_positions_get_equal_plans(client: RewardClient) -> None:
    trained(client, "run")
    client.set_pool("run", IDS)
    at = client.run("run").position
    asked = {"step": 12, "position": at, "exclude": IDS[:5]}
    then = client.plan("run", 6, 8, **asked)
    for number in range(12, 20):
        step(client, "run", number)
    assert client.plan("run", 6, 8, **asked) == then
    client.create_checkpoint("run", "here")
    step(client, "run", 20)
    client.fork("run", "copy", "here")
    assert client.plan("copy", 6, 8, **asked) == then
    client.restore("run", "here")
    assert client.plan("run", 6, 8, **asked) == then


@pytest.mark.parametrize("by", slow_after(1, ["text", "id"]))
def test_a_plan_as_of_a_position_knows_nothing_that_came_later(client: RewardClient, by: str) -> None:
    client.create_run("run", group_size=G)
    client.set_pool("run", IDS, TEXTS)
    asked = []
    for number in range(12):
        asked.append(client.plan("run", 8, G))
        chosen = [IDS.index(pick.prompt_id) for pick in asked[-1].picks[:4]]
        ids = [IDS[one] for one in chosen for _ in range(G)] if by == "id" else None
        step(client, "run", number, chosen, prompt_ids=ids)
    assert client.pool("run").visited > 8
    assert [client.plan("run", 8, G, position=1 + number) for number in range(12)] == asked


def test_the_same_pool_again_changes_nothing(client: RewardClient) -> None:
    client.create_run("run")
    first = client.set_pool("run", IDS, TEXTS)
    assert client.set_pool("run", IDS, TEXTS) == first
    assert client.run("run").position == 1
    assert client.set_pool("run", IDS).since == 2


def test_a_plan_survives_a_restart_and_an_export(tmp_path: Path) -> None:
    asked = {"step": 12, "position": 13}
    store = f"sqlite:///{tmp_path}/data"
    with RewardClient.embedded(store, run="run", encoder="hashed", snapshot_bytes=1 << 16) as client:
        trained(client, "run")
        client.set_pool("run", IDS, TEXTS)
        step(client, "run", 12)
        plan, digest = client.plan("run", 6, 8, **asked), client.run("run", digest=True).digest
        client.export_run("run", tmp_path / "run.memr")
    with RewardClient.embedded(store, run="run", encoder="hashed") as client:
        assert client.plan("run", 6, 8, **asked) == plan
        assert client.run("run", digest=True).digest == digest
        client.import_run("again", tmp_path / "run.memr")
        assert client.plan("again", 6, 8, **asked) == plan
        assert client.run("again", digest=True).digest == digest


def test_nothing_that_happens_to_a_prior_run_later_changes_what_was_copied(client: RewardClient) -> None:
    trained(client, "earlier")
    client.create_run("run", prior_runs=[{"run": "earlier", "weight": 2.0}])
    client.set_pool("run", IDS)
    plan = client.plan("run", 6, 8)
    for number in range(12, 20):
        step(client, "earlier", number)
    assert client.create_run("run", prior_runs=[{"run": "earlier", "weight": 2.0}]).position == 2
    assert client.plan("run", 6, 8) == plan
    client.delete_run("earlier")
    assert client.plan("run", 6, 8) == plan
    assert client.create_run("run", prior_runs=[{"run": "earlier", "weight": 2.0}]).position == 2


def test_a_prior_run_counts_its_first_visits_or_what_it_knew_at_its_end_or_at_a_checkpoint(
    client: RewardClient,
) -> None:
    client.create_run("earlier")
    for number, outcome in enumerate([0, 0, 0, 1, 1]):
        client.reward(["q"] * 4, ["a"] * 4, [outcome] * 4, run_id="earlier", prompt_ids=["q"] * 4, step=number)
        if number == 3:
            client.create_checkpoint("earlier", "three")
    found = {}
    for at in ("first", "last", "three"):
        client.create_run(f"run-{at}", prior_runs=[{"run": "earlier", "at": at}])
        found[at] = client.reward(["q"], ["a"], [1], run_id=f"run-{at}", prompt_ids=["q"], mode="eval").baseline[0]
    assert found == {"first": 0.0, "last": pytest.approx(6 / 7.75), "three": pytest.approx(4 / 7.5)}


def test_a_prior_run_brings_what_its_own_prior_runs_knew_unless_they_counted_otherwise(client: RewardClient) -> None:
    known = {"run_id": "second", "prompt_ids": ["q"] * 4, "step": 0}
    client.create_run("first")
    client.reward(["q"] * 4, ["a"] * 4, [1, 1, 1, 1], **(known | {"run_id": "first"}))
    client.create_run("second", prior_runs=["first"])
    client.reward(["q"] * 4, ["a"] * 4, [0, 0, 0, 0.4], **known)
    client.create_checkpoint("second", "end")
    found = {}
    for at, threshold in (("last", 0.5), ("end", 0.5), ("end", 0.3)):
        run = f"third-{at}-{threshold}"
        limits = {"success_threshold": threshold, "failure_threshold": threshold}
        client.create_run(run, prior_runs=[{"run": "second", "at": at}], **limits)
        found[at, threshold] = client.reward(["q"], ["a"], [1], run_id=run, prompt_ids=["q"], mode="eval").baseline[0]
    assert found["last", 0.5] == found["end", 0.5] == pytest.approx(2 / 6)
    assert found["end", 0.3] == 0.25


def test_another_threshold_counts_the_prior_runs_journal_again(client: RewardClient) -> None:
    client.create_run("earlier")
    client.reward(["q"] * 4, ["a"] * 4, [0.2, 0.4, 0.6, 0.8], run_id="earlier", prompt_ids=["q"] * 4, step=0)
    client.create_run("run", prior_runs=["earlier"], success_threshold=0.3, failure_threshold=0.3)
    assert client.reward(["q"], ["a"], [1], run_id="run", prompt_ids=["q"], mode="eval").baseline == [0.75]


def test_prompts_of_other_ids_are_found_by_their_text(client: RewardClient) -> None:
    client.create_run("earlier")
    step(client, "earlier", 0, [3])
    client.create_run("run", prior_runs=["earlier"])
    info = client.set_pool("run", ["other"], [TEXTS[3]])
    assert info.prior == 1
    assert client.plan("run", 1, 4).picks[0].source == "prior"
    assert step(client, "run", 0, [3], prompt_ids=["other"] * 4).baseline[0] is not None
    assert client.plan("run", 1, 4).picks[0].source == "own"


def test_a_run_may_start_from_counts(client: RewardClient) -> None:
    client.create_run("run")
    client.add_prior("run", [4, 0, 2], [4, 4, 4], prompt_ids=["a", "b", "c"])
    client.set_pool("run", ["a", "b", "c"])
    assert client.plan("run", 1, 8).picks[0].prompt_id == "c"
    with pytest.raises(Conflict, match="already"):
        client.add_prior("run", [1], [1], prompt_ids=["d"])
    with pytest.raises(InvalidRequest, match=r"prompts of items 1 and 2 are the same"):
        client.add_prior("run", [1, 1, 1], [1, 1, 1], prompt_ids=["a", "d", "d"])
    client.create_run("texts")
    client.add_prior("texts", [1], [2], prompts=["a question"])
    assert client.reward(["a question"], ["x"], [1], run_id="texts", mode="eval").baseline == [0.5]


def test_candidates_are_found_by_their_texts(client: RewardClient) -> None:
    client.create_run("run")
    client.reward(["a"] * 4 + ["b"] * 4, [str(n) for n in range(8)], [1, 0] * 2 + [1] * 4, step=0)
    candidates = ["row 1", "row 2", "row 3"]
    assert client.plan("run", 1, 4, candidates=candidates).known == 0
    plan = client.plan("run", 3, 4, candidates=candidates, prompts=["a", "b", "c"])
    assert plan.known == 2
    assert [(one.prompt_id, one.source) for one in plan.picks if one.source == "own"] == [
        ("row 1", "own"), ("row 2", "own"),
    ]  # fmt: skip
    with pytest.raises(InvalidRequest, match="prompts has length 2, but candidates 3"):
        client.plan("run", 1, 4, candidates=candidates, prompts=["a", "b"])


def test_a_pool_comes_in_parts_and_takes_effect_with_the_last(client: RewardClient, monkeypatch: Any) -> None:
    monkeypatch.setattr("memr_client.calls.POOL_PART", 15)
    client.create_run("run")
    info = client.set_pool("run", IDS, TEXTS)
    assert (info.prompts, info.since, info.waiting) == (M, 1, 0)
    client.delete_pool("run")
    assert client.pool("run").prompts == 0
    with pytest.raises(Conflict, match="no pool"):
        client.plan("run", 1, 4)
    assert client.plan("run", 2, 4, candidates=["x", "y", "z"]).candidates == 3


def put_part(client: RewardClient, ids: list[str], part: int, parts: int, upload: str, **body: Any) -> dict[str, Any]:
    path = f"/runs/run/pool?part={part}&parts={parts}&upload={upload}"
    response = client._pool().put(path, json={"prompt_ids": ids, **body})
    return {"status": response.status_code, **response.json()}


def test_parts_of_two_uploads_are_never_mixed(client: RewardClient) -> None:
    client.create_run("run")
    one, two = ["a", "b", "c"], ["x", "y", "z"]
    assert put_part(client, one[:2], 0, 2, "one")["waiting"] == 1
    assert put_part(client, two[2:], 1, 2, "two")["waiting"] == 2
    assert put_part(client, one[:2], 0, 2, "one")["waiting"] == 2  # sent again
    assert put_part(client, one[2:], 1, 2, "one")["prompts"] == 3
    assert {pick.prompt_id for pick in client.plan("run", 3, 4).picks} == {*one}
    assert put_part(client, two[:2], 0, 2, "two")["waiting"] == 0
    pool = client.pool("run")
    assert {pick.prompt_id for pick in client.plan("run", 3, 4).picks} == {*two}
    assert client.set_pool("run", two).digest == pool.digest


def test_parts_that_make_no_pool_are_refused_and_change_nothing(
    client: RewardClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.create_run("run")
    put_part(client, ["a", "b"], 0, 2, "up")
    assert put_part(client, ["c"], 1, 3, "up")["status"] == 409
    assert put_part(client, ["c"], 1, 2, "up", prompts=["C"])["status"] == 422
    twice = put_part(client, ["b"], 1, 2, "up")
    assert (twice["status"], twice["detail"]) == (422, "The prompt id 'b' comes twice.")
    monkeypatch.setattr("memr_service.engine.pool_uploads.MOST_IN_POOL", 3)
    put_part(client, ["a", "b"], 0, 3, "large")
    assert put_part(client, ["c", "d"], 1, 3, "large")["status"] == 413
    monkeypatch.setattr("memr_service.engine.pool_uploads.MOST_ID_BYTES", 4)
    assert put_part(client, ["long"], 1, 3, "large")["status"] == 413
    assert (client.run("run").position, client.pool("run").waiting) == (0, 1)


def test_old_uploads_are_dropped(client: RewardClient) -> None:
    client.create_run("run")
    for number in range(6):
        put_part(client, ["a"], 0, 2, f"up-{number}")
    assert client.pool("run").waiting == 4
    assert put_part(client, ["b"], 1, 2, "up-5")["waiting"] == 3
    client.delete_pool("run")
    client.delete_pool("run")
    assert (client.pool("run").waiting, client.run("run").position) == (0, 2)


def test_columns_of_a_pool_have_one_length(client: RewardClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("memr_client.calls.POOL_PART", 2)
    client.create_run("run")
    with pytest.raises(InvalidRequest, match="prompts has length 3, but prompt_ids 2"):
        client.set_pool("run", ["a", "b"], ["A", "B", "C"])


def test_counts_are_added_once_even_if_they_come_at_once(client: RewardClient) -> None:
    client.create_run("run")

    def add(number: int) -> bool:
        try:
            client.add_prior("run", [number, 4], [8, 8], prompt_ids=["a", "b"])
        except Conflict:
            return False
        return True

    with ThreadPoolExecutor(8) as threads:
        added = [*threads.map(add, range(8))]
    assert sum(added) == 1
    assert add(added.index(True))  # sent again, it changes nothing
    assert client.run("run").position == 1
    step(client, "run", 0, [0, 1])
    kinds = client.prompts("run").kinds
    assert sum(kinds.model_dump().values()) == 4


def test_another_config_keeps_the_pool_and_the_counts_of_a_run_without_completions(client: RewardClient) -> None:
    client.create_run("run")
    client.add_prior("run", [4, 0, 2], [4, 4, 4], prompt_ids=["a", "b", "c"])
    client.set_pool("run", ["a", "b", "c"], ["A", "B", "C"])
    plan, digest = client.plan("run", 3, 8), client.run("run", digest=True).digest
    replaced = client.create_run("run", k=3)
    assert (replaced.position, client.run("run", digest=True).digest) == (2, digest)
    assert client.plan("run", 3, 8) == plan
    trained(client, "earlier", 1)
    with pytest.raises(Conflict, match="starts from counts"):
        client.create_run("run", k=3, prior_runs=["earlier"])
    assert client.plan("run", 3, 8) == plan


def test_a_run_is_no_prior_run_of_itself(client: RewardClient) -> None:
    client.create_run("run")
    with pytest.raises(InvalidRequest, match="prior run of itself"):
        client.create_run("run", prior_runs=["run"])
    assert client.run("run").config.prior_runs is None


def test_counts_beyond_what_can_be_computed_are_refused(client: RewardClient) -> None:
    client.create_run("run")
    with pytest.raises(InvalidRequest, match="at most 1"):
        client.add_prior("run", [1], [1e308], prompt_ids=["a"])
    client.add_prior("run", [1e9, 5e8, 0], [1e9, 1e9, 1e9], prompt_ids=["a", "b", "c"])
    for objective in ("spread", "variance", "target"):
        plan = client.plan("run", 3, 1024, candidates=["a", "b", "c"], objective=objective)
        assert plan.picks[0].prompt_id == "b"
        assert all(0 <= pick.low <= pick.p <= pick.high <= 1 for pick in plan.picks)


def test_ids_and_texts_of_a_pool_are_as_long_as_those_of_rewards_at_most() -> None:
    with RewardClient.embedded(run="run", encoder="hashed", max_text_chars=10) as client:
        client.create_run("run")
        for columns in ({"prompt_ids": ["x" * 11]}, {"prompt_ids": ["a"], "prompts": ["x" * 11]}):
            with pytest.raises(TooLarge, match="too many characters"):
                client.set_pool("run", **columns)
        with pytest.raises(TooLarge, match="too many characters"):
            client.plan("run", 1, 4, candidates=["x" * 11])


def test_a_pool_of_long_texts_comes_in_more_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("memr_client.calls.POOL_PART_CHARS", 25)
    texts = ["x" * 10, "y" * 30, "z" * 5, "z" * 5, "z" * 5]
    bodies = [json.loads(call.content) for call in calls.set_pool("run", list("abcde"), texts)]
    assert [body["prompt_ids"] for body in bodies] == [["a", "b"], ["c", "d", "e"]]
    assert [text for body in bodies for text in body["prompts"]] == texts
    monkeypatch.setattr("memr_client.calls.POOL_PART", 2)
    assert [call.path.partition("&upload")[0] for call in calls.set_pool("run", list("abcde"), None)] == [
        f"/runs/run/pool?part={part}&parts=3" for part in range(3)
    ]


def test_a_backtest_foresees_each_group_from_what_was_known_before(client: RewardClient) -> None:
    client.create_run("run")
    for number in range(6):
        prompts = ["solved"] * 4 + ["mixed"] * 4
        client.reward(
            prompts, [f"{number}.{i}" for i in range(8)], [1] * 4 + [1, 0, 1, 0], prompt_ids=prompts, step=number
        )
    found = client.backtest("run")
    assert (found.groups, found.known, found.equal) == (12, 10, 5)
    assert found.auc == pytest.approx((5 * 4 * 5 * 2 + 0.5 * 10 * 10) / (30 * 10), abs=1e-9)
    assert found.brier < found.brier_base
    assert sum(one.groups for one in found.calibration) == 10


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"n": 41, "group_size": 8}, "40 prompts to choose from"),
    ({"n": 1, "group_size": 1}, "group_size"),
    ({"n": 0, "group_size": 8}, "n is 0"),
    ({"n": 40, "group_size": 8, "exclude": ["q0"]}, "39 prompts"),
    ({"n": 1, "group_size": 8, "candidates": ["a", "a"]}, "comes twice"),
    ({"n": 1, "group_size": 8, "position": 99}, "position is 99"),
    ({"n": 1, "group_size": 8, "objective": "novelty"}, "objective"),
]


@pytest.fixture(scope="module")
def pooled() -> Iterator[RewardClient]:
    """A client of a run with a pool, for tests that change nothing."""
    with RewardClient.embedded(run="run", encoder="hashed") as client:
        trained(client, "run", 3)
        client.set_pool("run", IDS)
        yield client


@pytest.mark.parametrize(("asked", "said"), REFUSED, ids=[said for _, said in REFUSED])
def test_what_cannot_be_planned_is_refused(pooled: RewardClient, asked: dict[str, Any], said: str) -> None:
    before = pooled.run("run", digest=True)
    with pytest.raises(InvalidRequest, match=said):
        pooled.plan("run", **asked)
    assert pooled.run("run", digest=True) == before


def test_positions_before_the_pool_or_the_last_records_are_gone(client: RewardClient) -> None:
    trained(client, "run", 2)
    client.set_pool("run", IDS)
    with pytest.raises(Conflict, match="set by record 3"):
        client.plan("run", 1, 4, position=2)
    for number in range(2, 70):
        step(client, "run", number, [number % M])
    with pytest.raises(Conflict, match="is gone"):
        client.plan("run", 1, 4, position=3)
    assert client.plan("run", 1, 4, position=client.run("run").position - 63).position == 8


def test_prior_runs_that_cannot_be_copied_are_refused_and_create_nothing(client: RewardClient) -> None:
    with pytest.raises(UnknownRun):
        client.create_run("run", prior_runs=["nobody"])
    trained(client, "earlier", 1)
    with pytest.raises(InvalidRequest, match="no checkpoint 'later'"):
        client.create_run("run", prior_runs=[{"run": "earlier", "at": "later"}])
    assert [one.run_id for one in client.runs()] == ["earlier"]
    client.create_run("run", prior_runs=["earlier"])
    warned = client.set_pool("run", ["unknown"]).warnings
    assert "prior runs know none of the pool's 1 prompts" in warned[0]


def test_a_prior_run_that_goes_while_it_is_counted_creates_nothing(
    client: RewardClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained(client, "earlier", 2)
    monkeypatch.setattr("memr_service.engine.prior_runs._next", lambda records: [])
    client.retries = 0
    with pytest.raises(Unavailable, match="was deleted or restored while it was counted"):
        client.create_run("run", success_threshold=0.6, prior_runs=["earlier"])
    assert [one.run_id for one in client.runs()] == ["earlier"]


def test_a_pool_with_an_id_twice_is_refused(client: RewardClient) -> None:
    client.create_run("run")
    with pytest.raises(InvalidRequest, match="'a' comes twice"):
        client.set_pool("run", ["a", "b", "a"])
    assert client.run("run").position == 0


def test_a_run_without_completions_takes_another_config_with_its_prior_runs(client: RewardClient) -> None:
    trained(client, "earlier", 2)
    client.create_run("run", prior_runs=["earlier"])
    replaced = client.create_run("run", k=3)
    assert (replaced.position, replaced.config.prior_runs) == (0, None)
    assert client.create_run("run", k=3, prior_runs=["earlier"]).position == 1


def test_a_key_takes_prior_runs_of_its_prefix_only(tmp_path: Path) -> None:
    key = {"name": "mine", "scope": "write", "sha256": hashlib.sha256(b"k").hexdigest(), "runs": "mine-"}
    (tmp_path / "keys.json").write_text(json.dumps([key]))
    app = create_app(Settings(store="memory:", encoder="hashed", preload=False, keys_file=tmp_path / "keys.json"))
    with TestClient(app, headers={"X-API-Key": "k"}) as client:
        refused = client.put("/runs/mine-run", json={"prior_runs": ["theirs"]})
        assert refused.status_code == 403
        assert client.put("/runs/mine-run", json={"prior_runs": ["mine-other"]}).status_code == 404
