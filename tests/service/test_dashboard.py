"""The dashboard's files and the queries behind it; `make browser` tests it in Chromium."""

from __future__ import annotations

import asyncio
import hashlib
import re
from datetime import datetime
from pathlib import Path
from typing import Any

import memr_service
import numpy as np
import pytest
from memr_client import AsyncRewardClient, RewardClient
from memr_client.schemas import Completions, History, Map
from memr_service.app import create_app
from memr_service.insight import service as insight_service
from memr_service.insight.dashboard import queries
from memr_service.insight.dashboard.projection import project
from memr_service.settings import Settings
from starlette.testclient import TestClient
from support.cases import slow_after

FOLDER = Path(memr_service.__file__).parent / "app" / "dashboard"
D = 8


@pytest.fixture
def client():
    with TestClient(create_app(Settings(store="memory:", encoder="hashed", preload=False))) as client:
        yield client


def step(number: int, n: int = 6, **more: Any) -> dict[str, Any]:
    rng = np.random.default_rng(number)
    return {
        "run_id": "run",
        "prompts": [f"prompt {item // 3}" for item in range(n)],
        "completions": [f"completion {number}.{item}" for item in range(n)],
        "outcomes": (rng.random(n) < 0.5).astype(float).tolist(),
        "step": number,
        "embeddings": {
            "prompts": np.repeat(np.eye(D)[: -(-n // 3)], 3, axis=0)[:n].tolist(),
            "completions": rng.normal(size=(n, D)).tolist(),
        },
        **more,
    }


def play(client: TestClient, steps: int, **config: Any) -> list[dict[str, Any]]:
    """Send some steps to a run with this config. Returns the responses."""
    client.put("/runs/run", json={"preset": "memory-r+", "explore_warmup_steps": 2, **config})
    return [client.post("/reward", json=step(number)).json() for number in range(steps)]


def listed(client: TestClient, **asked: Any) -> Completions:
    response = client.get("/runs/run/completions", params=asked)
    assert response.status_code == 200, response.text
    return Completions.model_validate(response.json())


# The page


def test_every_file_that_the_pages_load_is_served_and_every_file_is_loaded(client):
    pages = client.get("/").text + client.get("/docs").text
    asked, seen = set(re.findall(r'(?:src|href)="dashboard/(.*?)"', pages)), set()
    while asked - seen:
        name = (asked - seen).pop()
        part = client.get(f"/dashboard/{name}")
        assert part.status_code == 200, name
        assert part.headers["content-type"].startswith("text/css" if name.endswith(".css") else "text/javascript")
        asked |= set(re.findall(r'^import .*"\./(.*?)";$', part.text, re.MULTILINE))
        seen.add(name)
    parts = {path.name for path in (*FOLDER.iterdir(), *(FOLDER / "vendor").iterdir()) if path.is_file()}
    assert seen == parts - {"index.html", "docs.html", "uPlot.LICENSE", "swagger.LICENSE", "SHA256SUMS"}


def test_the_page_asks_for_all_its_modules_at_once(client):
    page = client.get("/").text
    asked = re.findall(r'<link rel="modulepreload" href="dashboard/(.*?)">', page)
    assert sorted([*asked, "app.js"]) == sorted(
        {path.name for path in FOLDER.glob("*.js")} - {"docs.js"} | {"uPlot.js"}
    )


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_nothing_is_loaded_from_another_host_and_nothing_is_inline(client, path):
    page = client.get(path)
    policy = dict(rule.split(" ", 1) for rule in page.headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["connect-src"] == policy["style-src"] == "'self'"
    assert not re.search(r"<script(?![^>]*src=)|<style| style=| on\w+=", page.text)
    for path in (path for path in FOLDER.iterdir() if path.is_file()):
        told = path.read_text().replace('"http://www.w3.org/2000/svg"', "the namespace of drawings")
        assert not re.search(r"https?://|innerHTML|insertAdjacentHTML|document\.write|eval\(", told), path


@pytest.mark.parametrize(
    "name",
    [
        "index.html",
        "docs.html",
        "uPlot.LICENSE",
        "swagger.LICENSE",
        "none.js",
        "..%2Fsettings.py",
        "app.js%00",
        "%2e%2e",
        "app.js/",
    ],
)
def test_nothing_else_is_served(client, name):
    assert client.get(f"/dashboard/{name}").status_code == 404


@pytest.mark.parametrize("name", ["uPlot.js", "uPlot.css", "swagger.js", "swagger.css"])
def test_code_of_others_is_what_the_notice_says(name):
    notice = (Path(__file__).parents[2] / "NOTICE").read_text()
    digest = hashlib.sha256((FOLDER / "vendor" / name).read_bytes()).hexdigest()
    assert f"SHA-256 of {name}: {digest}" in notice


def test_uplots_licence_is_in_the_notice():
    version = re.search(r"\(v([\d.]+)\)", (FOLDER / "vendor" / "uPlot.js").read_text())[1]
    notice = (Path(__file__).parents[2] / "NOTICE").read_text()
    assert f"uPlot {version}" in notice
    assert "Copyright (c) 2022 Leon Sorokin" in notice
    assert "Copyright (c) 2022 Leon Sorokin" in (FOLDER / "vendor" / "uPlot.LICENSE").read_text()


# Curves


def test_points_limit_the_rows_and_every_completion_counts(client):
    play(client, 25)
    whole = History.model_validate(client.get("/runs/run/history").json()).rows
    assert History.model_validate(client.get("/runs/run/history", params={"points": 25}).json()).rows == whole
    few = History.model_validate(client.get("/runs/run/history", params={"points": 10}).json()).rows
    assert [(row.first_position, row.position) for row in few] == [(at, min(at + 2, 25)) for at in range(1, 26, 3)]
    for row in few:
        steps = [one for one in whole if row.first_position <= one.position <= row.position]
        assert row.items == sum(one.items for one in steps)
        assert row.outcome_mean == pytest.approx(np.mean([one.outcome_mean for one in steps]))
        assert row.step == steps[-1].step
        assert row.memory == steps[-1].memory
    late = History.model_validate(client.get("/runs/run/history", params={"points": 5, "after": 20}).json()).rows
    assert late == whole[20:]


# Runs


def test_the_list_of_runs_tells_of_their_newest_steps(client, monkeypatch):
    monkeypatch.setattr(insight_service, "AUDITING_S", 60.0)
    answers = play(client, 30)
    client.put("/runs/empty", json={})
    (empty, run) = client.get("/runs", params={"recent": True}).json()["runs"]
    assert (empty["recent"], empty["alarms"]) == (None, 0)
    assert run["alarms"] == 0
    outcomes = [np.mean(step(number)["outcomes"]) for number in range(6, 30)]
    assert run["recent"]["outcome"] == pytest.approx(outcomes, abs=1e-6)
    assert run["recent"]["reward"] == pytest.approx([np.mean(one["rewards"]) for one in answers[6:]], abs=1e-5)
    (row,) = client.get("/runs/run/history", params={"after": 29}).json()["rows"]
    assert datetime.fromisoformat(run["recent"]["at"]).timestamp() == int(row["at"])
    client.post("/reward", json=step(30, outcomes=[1.0] * 6))
    assert client.get("/runs?recent=1").json()["runs"][1]["recent"]["outcome"][-1] == 1
    assert [one["recent"] for one in client.get("/runs").json()["runs"]] == [None, None]


def test_the_list_of_runs_does_not_wait_for_audits_but_tells_of_those_made(client, monkeypatch):
    play(client, 3)
    monkeypatch.setattr(insight_service, "AUDITING_S", 0.0)
    assert client.get("/runs?recent=1").json()["runs"][0]["alarms"] is None
    assert client.get("/metrics").status_code == 200
    assert client.get("/runs?recent=1").json()["runs"][0]["alarms"] == 0


# Completions


def test_the_newest_completions_come_first_with_their_rewards_and_texts(client):
    answers = play(client, 5)
    page = listed(client, limit=8)
    assert (page.matching, page.first_position, page.position) == (30, 1, 5)
    assert [(row.position, row.item) for row in page.rows] == [(5, item) for item in range(5, -1, -1)] + [
        (4, 5),
        (4, 4),
    ]
    for row in page.rows:
        answer = answers[row.position - 1]
        assert row.reward == answer["rewards"][row.item]
        for name, part in answer["components"].items():
            assert (row.raw[name], row.scaled[name]) == (part["raw"][row.item], part["scaled"][row.item])
        assert row.completion == f"completion {row.position - 1}.{row.item}"
        assert row.prompt == f"prompt {row.item // 3}"
        assert row.step == row.position - 1


@pytest.mark.parametrize("ascending", [False, True])
@pytest.mark.parametrize("sort", slow_after(1, ["exploit", "reward", "outcome", "length", "explore"]))
def test_any_column_sorts_and_undefined_values_come_last(client, sort, ascending):
    play(client, 20)
    rows = listed(client, sort=sort, ascending=ascending, limit=200).rows
    values = [row.raw[sort] if sort in row.raw else getattr(row, sort) for row in rows]
    there = [value for value in values if value is not None]
    assert values == sorted(there, reverse=not ascending) + [None] * (len(values) - len(there))
    assert sort != "explore" or len(there) < len(values)
    assert len(rows) == 120


def test_pages_and_filters_show_each_completion_once(client):
    play(client, 10)
    pages = [listed(client, sort="reward", offset=offset, limit=25).rows for offset in (0, 25, 50)]
    assert [len(page) for page in pages] == [25, 25, 10]
    assert len({(row.position, row.item) for page in pages for row in page}) == 60
    right, wrong = (listed(client, right=right, limit=200) for right in (True, False))
    assert right.matching + wrong.matching == 60
    assert {row.outcome for row in right.rows} == {1.0}
    assert {row.position for row in listed(client, step=7).rows} == {8}
    assert listed(client, after=8).matching == 12
    assert listed(client, step=99).rows == []


def test_a_search_looks_in_prompts_and_completions_ignoring_case(client, monkeypatch):
    play(client, 20)
    found = listed(client, text="COMPLETION 1", limit=200)
    expected = {f"completion {number}.{item}" for number in (1, *range(10, 20)) for item in range(6)}
    assert {row.completion for row in found.rows} == expected
    assert (found.matching, found.searched) == (66, 120)
    assert listed(client).searched is None
    wrong = listed(client, text="prompt 1", right=False, sort="reward", limit=200).rows
    assert {(row.prompt, row.outcome) for row in wrong} == {("prompt 1", 0.0)}
    assert [row.reward for row in wrong] == sorted((row.reward for row in wrong), reverse=True)
    assert listed(client, text="nobody said so").rows == []
    monkeypatch.setattr(queries, "SEARCHED", 12)
    page = listed(client, text="completion 1")
    assert (page.matching, page.searched) == (12, 12)


def test_the_end_of_a_long_text_is_shown_too(client):
    long = "So it begins. " + "And so it goes on. " * 50 + "The answer is 42."
    client.post("/reward", json=step(0, n=1) | {"completions": [long], "prompts": ["p" * 400]}).raise_for_status()
    (row,) = listed(client).rows
    assert len(row.completion) == 400
    assert row.completion.startswith("So it begins. And")
    assert row.completion.endswith("goes on. The answer is 42.")
    assert row.completion[119:124].strip().count("…") == 1
    assert row.prompt == "p" * 400


def test_completions_of_one_prompt(client, monkeypatch):
    play(client, 9)
    keys = {row.prompt: row.prompt_key for row in listed(client).rows}
    assert len(keys) == 2
    page = listed(client, prompt=keys["prompt 1"], sort="reward", limit=200)
    assert (page.matching, page.searched) == (27, None)
    assert {row.prompt for row in page.rows} == {"prompt 1"}
    assert [row.reward for row in page.rows] == sorted((row.reward for row in page.rows), reverse=True)
    assert listed(client, prompt="0" * 32).rows == []
    assert listed(client, prompt=keys["prompt 1"], text="completion 3").matching == 3
    monkeypatch.setattr(queries, "LOOKED_INTO", 4)
    page = listed(client, prompt=keys["prompt 1"])
    assert (page.matching, page.searched) == (12, 24)


def test_completions_that_a_guard_rejected(client):
    play(client, 11, components={"exploit": {"guards": {"min_chars": 15}}, "explore": 1.0})
    page = listed(client, rejected="exploit:too_short", limit=200)
    assert page.rejected == {"exploit:too_short": 60}
    assert {tuple(row.rejected) for row in page.rows} == {("exploit:too_short",)}
    assert page.matching == 60
    assert listed(client, rejected="exploit:too_short", right=True).matching < 60
    assert listed(client, rejected="exploit:too_long").rows == []


def play_and_restore(client):
    """Steps 0 to 2, and 9 in place of 3."""
    play(client, 3)
    client.post("/runs/run/checkpoints", json={"name": "third"})
    client.post("/reward", json=step(3))
    listed(client)  # the earlier result must not be shown again
    client.post("/runs/run/restore", json={"checkpoint": "third"})
    client.post("/reward", json=step(9, n=3))


def test_a_search_in_a_restored_run_finds_texts_of_its_own_branch_only(client):
    play_and_restore(client)
    assert listed(client, text="completion 3").rows == []
    assert [row.completion for row in listed(client, text="completion 9").rows] == [
        f"completion 9.{item}" for item in (2, 1, 0)
    ]


def test_a_rejected_completion_shows_the_reason(client):
    answers = play(client, 11, components={"exploit": {"guards": {"min_chars": 15}}, "explore": 1.0})
    reasons_of = {(row.position, row.item): row.rejected for row in listed(client, limit=200).rows}
    assert {len(reasons_of[10, item]) for item in range(6)} == {1}
    for (position, item), reasons in reasons_of.items():
        assert reasons == answers[position - 1]["guards"]["rejected"][item]
    assert {len(reasons_of[11, item]) for item in range(6)} == {0}


def test_an_unknown_sort_column_is_refused_with_the_known_ones(client):
    play(client, 1)
    refused = client.get("/runs/run/completions", params={"sort": "novelty"})
    assert refused.status_code == 422
    assert refused.json()["limit"] == ["position", "outcome", "reward", "length", "exploit", "explore"]


def test_texts_that_are_not_kept_are_null(client):
    play(client, 2, store_text=False)
    assert {(row.prompt, row.completion) for row in listed(client).rows} == {(None, None)}


def test_a_restored_run_shows_its_own_history_only(client):
    play_and_restore(client)
    rows = listed(client, limit=200).rows
    assert [row.completion for row in rows[:4]] == [
        "completion 9.2",
        "completion 9.1",
        "completion 9.0",
        "completion 2.5",
    ]
    assert len(rows) == 21


def test_runs_and_records_beyond_the_cache_give_the_same_results(client, monkeypatch):
    play(client, 9)
    whole = listed(client, limit=200)
    monkeypatch.setattr(queries, "KEPT", 3)
    monkeypatch.setattr(queries, "KEPT_RUNS", 1)
    client.post("/runs/run/fork", json={"run_id": "other"})
    for _ in range(2):
        assert listed(client, limit=200) == whole
        client.get("/runs/other/completions").raise_for_status()


def test_a_run_without_records_has_no_completions_and_no_map(client):
    client.put("/runs/run", json={})
    assert listed(client).rows == []
    assert client.get("/runs/run/map").json()["points"] == []
    assert client.get("/runs/run/history", params={"points": 10}).json() == {"rows": []}


# The map


def test_a_map_places_stored_completions_by_an_eigendecomposition(client):
    play(client, 10)
    found = Map.model_validate(client.get("/runs/run/map").json())
    requests = [step(number) for number in range(10)]
    rows = np.concatenate([request["embeddings"]["completions"] for request in requests])
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    outcomes = np.concatenate([request["outcomes"] for request in requests])
    shown = np.array([point.serial for point in found.points])
    assert sorted(shown) == list(range(60))
    values, axes = np.linalg.eigh(np.cov(rows.T))
    assert found.explained == pytest.approx(values[[-1, -2]] / values.sum(), rel=1e-4)
    for number, at in ((-1, [point.x for point in found.points]), (-2, [point.y for point in found.points])):
        expected = ((rows - rows.mean(axis=0)) @ axes[:, number])[shown]
        assert np.abs(np.array(at)) == pytest.approx(np.abs(expected), abs=1e-4)
    for point in found.points:
        assert point.outcome == outcomes[point.serial]
        assert point.memory == ("success" if point.outcome else "failure")
        assert point.completion == f"completion {point.serial // 6}.{point.serial % 6}"


@pytest.mark.parametrize(("points", "numbers"), [(1, 8), (2, 8), (5, 40), (40, 5), (3, 1)])
def test_the_projection_equals_a_singular_value_decomposition(points, numbers):
    vectors = np.random.default_rng(points).normal(size=(points, numbers)).astype(np.float32)
    centred = vectors.astype(np.float64) - vectors.astype(np.float64).mean(axis=0)
    _, lengths, axes = np.linalg.svd(centred, full_matrices=False)
    expected = np.zeros((points, 2))
    expected[:, : len(axes)] = centred @ axes[:2].T
    at, shares = project(vectors)
    assert np.abs(at) == pytest.approx(np.abs(expected), abs=1e-9)
    total = (lengths**2).sum()
    assert sum(shares) == pytest.approx((lengths[:2] ** 2).sum() / total if total else 0)


def test_a_map_samples_both_memories_over_all_ages_and_is_reproducible(client):
    play(client, 40)
    one = client.get("/runs/run/map", params={"most": 40}).json()
    page = Map.model_validate(one)
    for side in ("success", "failure"):
        serials = [point.serial for point in page.points if point.memory == side]
        assert len(serials) == len(set(serials)) == 20
        assert min(serials) < 12
        assert max(serials) >= 228
    assert client.get("/runs/run/map", params={"most": 40}).json() == one
    assert page.memory.success.completions + page.memory.failure.completions == 240


def test_a_maps_completions_are_in_clusters(client):
    play(client, 10)
    found = Map.model_validate(client.get("/runs/run/map").json())
    counts = np.bincount([point.cluster for point in found.points]).tolist()
    assert [one.points for one in found.clusters] == counts
    assert len(counts) > 1
    assert all("completion" not in one.words for one in found.clusters), "a word of all of them names none"


def test_both_clients_ask_for_completions_and_maps():
    with RewardClient.embedded(run="run", encoder="hashed") as sync:
        for number in range(3):
            sync.reward(**step(number))
        page = sync.completions(sort="length", ascending=True, right=False, step=2, text="Completion 2")
        wrong = [item for item, outcome in enumerate(step(2)["outcomes"]) if not outcome]
        assert sorted((row.position, row.item) for row in page.rows) == [(3, item) for item in wrong]
        assert len(sync.completions(limit=5, right=None).rows) == 5
        assert len(sync.memory_map(most=4).points) == 4

    async def asked():
        async with AsyncRewardClient.embedded(run="run", encoder="hashed") as client:
            await client.reward(**step(0))
            return await client.completions(offset=4), await client.memory_map()

    page, shown = asyncio.run(asked())
    assert [row.item for row in page.rows] == [1, 0]
    assert len(shown.points) == 6


def test_dashboard_queries_change_nothing(client):
    play(client, 12)
    before = client.get("/runs/run?digest=1").json()
    for path in ("history?points=3", "completions?sort=reward", "map?most=10"):
        assert client.get(f"/runs/run/{path}").status_code == 200
    assert client.get("/runs/run?digest=1").json() == before
