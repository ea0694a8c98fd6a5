"""Limits proposed from a run's own records, against plain loops and against a run that uses them."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from memr_client import AsyncRewardClient, RewardClient
from memr_client.errors import Conflict, UnknownRun
from memr_client.schemas import Calibration, Proposal
from memr_service.insight.calibration import NEEDED, neighbours
from memr_service.insight.calibration.histogram import Histogram
from memr_service.rewards.guards import repeated_share

pytestmark = pytest.mark.slow

D = 6
LOOP = "and so on and so on "


@pytest.fixture
def client() -> Iterator[RewardClient]:
    with RewardClient.embedded(encoder="hashed", run="run") as client:
        yield client


def unit(rows: np.ndarray) -> np.ndarray:
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


def requests(count: int = 90, seed: int = 0, prompts: int = 150) -> list[dict[str, Any]]:
    """Training requests of two groups of four: right and wrong completions around their prompts, some of them loops."""
    rng = np.random.default_rng(seed)
    places = unit(rng.normal(size=(prompts, D)))
    made = []
    for step in range(count):
        of = np.repeat(rng.choice(prompts, 2, replace=False), 4)
        outcomes = rng.integers(2, size=8)
        outcomes[7] = outcomes[6]
        near = 0.1 + 0.1 * (1 - outcomes) + rng.exponential(0.02, size=8)
        rows = unit(places[of] + near[:, None] * rng.normal(size=(8, D)))
        rows[7] = unit(rows[6:7] + 1e-3 * rng.normal(size=(1, D)))[0]
        texts = [" ".join(str(rng.random()) for _ in range(rng.integers(2, 40))) for _ in range(8)]
        texts[int(rng.integers(8))] += LOOP * int(rng.integers(0, 12))
        made.append(
            {
                "prompts": [f"prompt {number}" for number in of],
                "completions": texts,
                "outcomes": outcomes.tolist(),
                "truncated": (rng.random(8) < 0.3 * (1 - outcomes)).tolist(),
                "step": step // 2,
                "embeddings": {"prompts": places[of], "completions": rows},
            }
        )
    return made


def fill(client: RewardClient, run_id: str, made: list[dict[str, Any]], **config: Any) -> list[list[str]]:
    """A run of these requests; for each item why guards rejected it."""
    client.create_run(run_id, **{"explore_warmup_steps": 0, **config})
    answers = [client.reward(**request, run_id=run_id) for request in made]
    return [reasons for answer in answers for reasons in answer.guards.rejected]


def by_setting(found: Calibration, component: str | None = None) -> dict[str, Proposal]:
    return {one.setting: one for one in found.proposals if one.component in (None, component)}


def column(made: list[dict[str, Any]], name: str) -> np.ndarray:
    return np.concatenate([np.asarray(request[name]) for request in made])


# counting


@pytest.mark.parametrize("ceiling", [False, True])
def test_a_histogram_counts_and_finds_quantiles_as_numpy_does(ceiling: bool) -> None:
    rng = np.random.default_rng(3)
    histogram, values, right = Histogram(0.01, ceiling=ceiling), rng.normal(size=3000), rng.random(3000) < 0.3
    values[::50] = np.round(values[::50], 2)  # some are equal to limits
    values[7::100] = np.nan
    for part in np.array_split(np.arange(3000), 60):
        histogram.add(values[part], right[part])
    assert (histogram.seen().right, histogram.seen().wrong) == tuple(
        np.count_nonzero(side & ~np.isnan(values)) for side in (right, ~right)
    )
    for limit in (-9.0, -0.5, 0.07, 1.03, 9.0):
        counted = histogram.above(limit) if ceiling else histogram.below(limit)
        beyond = values > limit if ceiling else values < limit
        assert (counted.right, counted.wrong) == (np.count_nonzero(beyond & right), np.count_nonzero(beyond & ~right))
    for share in (0.0, 0.005, 0.5, 0.995, 1.0):
        for only, rows in ((False, ~np.isnan(values)), (True, right & ~np.isnan(values))):
            exact = np.quantile(values[rows], share, method="inverted_cdf")
            assert abs(histogram.quantile(share, right_only=only) - exact) <= 0.01


def test_an_empty_histogram_has_no_quantile() -> None:
    histogram = Histogram(1)
    histogram.add(np.array([math.nan]), np.array([True]))
    assert math.isnan(histogram.quantile(0.5))
    assert histogram.below(3).right == histogram.above(3).wrong == histogram.seen().right == 0


# proposing


def test_each_limit_is_its_quantile_of_right_completions_plus_its_margin(client: RewardClient) -> None:
    made = requests()
    fill(client, "run", made)
    found = by_setting(client.calibrate())
    right = column(made, "outcomes") > 0
    embeddings = [request["embeddings"] for request in made]
    topic = np.concatenate([(one["prompts"] * one["completions"]).sum(axis=1) for one in embeddings])
    lengths = np.array([len(text) for request in made for text in request["completions"]])
    repeated = np.array([repeated_share(text) for request in made for text in request["completions"]])

    def quantile(values: np.ndarray, share: float) -> float:
        return float(np.quantile(values[right], share, method="inverted_cdf"))

    assert found["topic_floor"].at == pytest.approx(quantile(topic, 0.005), abs=0.001)
    assert found["topic_floor"].value == pytest.approx(quantile(topic, 0.005) - 0.05, abs=0.011)
    assert found["min_chars"].value == quantile(lengths, 0.005) // 2
    assert found["max_chars"].value == quantile(lengths, 0.995) * 2
    assert found["max_repetition"].value == pytest.approx(quantile(repeated, 0.995) + 0.15, abs=0.011)
    assert found["drop_truncated"].value is True
    assert found["drop_truncated"].rejected.wrong == column(made, "truncated").sum() > 0
    assert all(found[name].values == right.sum() for name in ("topic_floor", "min_chars", "drop_truncated"))


def test_neighbour_floors_come_from_pairs_of_prompts_and_merging_from_pairs_of_right_and_wrong(
    client: RewardClient,
) -> None:
    made = requests()
    fill(client, "run", made)
    found = by_setting(client.calibrate(), "exploit")
    places = {
        prompt: request["embeddings"]["prompts"][item]
        for request in made
        for item, prompt in enumerate(request["prompts"])
    }
    rows = np.stack(list(places.values()))
    cosines = (rows @ rows.T)[np.triu_indices(len(rows), 1)]
    assert found["neighbour_floor"].values == len(cosines)
    assert found["neighbour_floor"].value == pytest.approx(np.quantile(cosines, 0.999), abs=0.011)
    unlike, alike = [], [[], []]
    for request in made:
        rows = request["embeddings"]["completions"]
        for item, prompt in enumerate(request["prompts"]):
            before = [other for other in range(item) if request["prompts"][other] == prompt]
            sides = {same: [float(rows[item] @ rows[other]) for other in before if
                            (request["outcomes"][other] == request["outcomes"][item]) is same]
                     for same in (True, False)}  # fmt: skip
            unlike += sides[False]
            if sides[True]:
                alike[request["outcomes"][item]].append(max(sides[True]))
    merge = found["merge_similarity"]
    assert merge.values == len(unlike)
    assert merge.value == pytest.approx(np.quantile(unlike, 0.995), abs=0.0015)
    assert (merge.seen.wrong, merge.seen.right) == (len(alike[0]), len(alike[1]))
    merged = [sum(value >= merge.value for value in side) for side in alike]
    assert [merge.rejected.wrong, merge.rejected.right] == pytest.approx(merged, abs=2)
    assert merge.rejected.right > 0


@pytest.mark.parametrize("order", ["hold_one_out", "read_first"])
@pytest.mark.parametrize("more", [{}, {"min_similarity": 0.6, "success_threshold": 0.5, "k": 3}])
def test_a_run_with_the_proposed_limits_rejects_exactly_as_many_as_was_predicted(
    client: RewardClient, order: str, more: dict[str, Any]
) -> None:
    made = requests()
    fill(client, "run", made, order=order, **more)
    found = client.calibrate()
    rejected = fill(client, "guarded", made, order=order, components=found.config["components"], **more)
    right = column(made, "outcomes") > 0
    counted = {side: Counter(reason for item in np.flatnonzero(right == (side == "right"))
                             for reason in rejected[item]) for side in ("right", "wrong")}  # fmt: skip
    reasons = {"topic_floor": "off_topic", "min_chars": "too_short", "max_chars": "too_long",
               "max_repetition": "repetitive", "drop_truncated": "truncated",
               "neighbour_floor": "no_near_prompt"}  # fmt: skip
    guards = [one for one in found.proposals if one.setting in reasons]
    assert len(guards) == 7
    for one in guards:
        assert one.too_harsh == (one.rejected.right > 0.2 * one.seen.right)
        assert one.value is None or not one.too_harsh
        assert one.why.startswith("Not proposed: ") == one.too_harsh
    assert sum(one.rejected.wrong for one in guards) > 20
    for one in guards:
        component = one.component or "explore"
        for side in ("right", "wrong"):
            said = 0 if one.too_harsh else getattr(one.rejected, side)
            assert said == counted[side][f"{component}:{reasons[one.setting]}"], (one.setting, side)


def test_junk_among_wrong_completions_does_not_change_a_limit(client: RewardClient) -> None:
    made = requests()
    fill(client, "run", made)
    rng = np.random.default_rng(1)
    for request in made:
        for item in np.flatnonzero(np.array(request["outcomes"]) == 0)[:2]:
            request["completions"][item] = "?"
            request["embeddings"]["completions"][item] = unit(rng.normal(size=(1, D)))[0]
    fill(client, "hacked", made)
    clean, hacked = (by_setting(client.calibrate(run)) for run in ("run", "hacked"))
    for name in ("topic_floor", "min_chars", "max_chars", "max_repetition"):
        assert hacked[name].value == clean[name].value
    assert hacked["min_chars"].rejected.wrong > 60
    assert hacked["topic_floor"].rejected.wrong > clean["topic_floor"].rejected.wrong + 60


def test_warm_up_ends_at_the_first_step_whose_median_reads_as_much_as_the_lowest_tenth(client: RewardClient) -> None:
    made = requests(prompts=3)
    client.create_run(order="read_first", explore_warmup_steps=0)
    read = np.stack([client.reward(**request).support.failure for request in made])
    found = by_setting(client.calibrate())["explore_warmup_steps"]
    medians = np.median(read.reshape(45, 16), axis=1)
    worst = np.quantile(read, 0.1, method="inverted_cdf")
    assert found.at == worst
    assert found.value == np.flatnonzero(medians >= max(1, worst))[0] > 0
    assert found.rejected.right + found.rejected.wrong == 16 * found.value


def test_the_proposed_config_creates_a_run_and_keeps_the_components_other_options(client: RewardClient) -> None:
    components = {"exploit": {"weight": 2.0, "guards": {"cap": 0.5}}, "contrast": {"weight": 0.5, "window": 77}}
    fill(client, "run", requests(), components=components)
    config = client.calibrate().config
    made = client.create_run("next", **config).config
    assert made.components["exploit"].guards.cap == 0.5
    assert made.components["exploit"].guards.neighbour_floor is not None
    assert (made.components["contrast"].weight, made.components["contrast"].window) == (0.5, 77)
    assert made.components["contrast"].guards.topic_floor == made.components["exploit"].guards.topic_floor is not None
    assert made.components["contrast"].guards.neighbour_floor is None
    assert made.memory.merge_similarity == config["memory"]["merge_similarity"]
    assert "explore_warmup_steps" not in config


def test_under_the_snapshot_barrier_only_guards_that_it_can_serve_are_proposed(client: RewardClient) -> None:
    fill(client, "run", requests(), barrier="snapshot", group_size=4)
    found = client.calibrate()
    assert "neighbour_floor" not in {one.setting for one in found.proposals}
    assert client.create_run("next", barrier="snapshot", group_size=4, **found.config).position == 0


# repetition


def test_repetition_is_measured_on_the_tagged_texts_if_it_was_not_recorded(client: RewardClient) -> None:
    made = requests(60)
    for request in made:
        request["completions"] = [f"{LOOP * 5}<think>{text}</think>" for text in request["completions"]]
    fill(client, "run", made, reasoning_tags=("<think>", "</think>"))
    guards = {"max_repetition": 0.9}
    recorded = {name: {"weight": 1.0, "guards": guards} for name in ("exploit", "explore")}
    fill(client, "recorded", made, reasoning_tags=("<think>", "</think>"), components=recorded)
    measured, recorded = (by_setting(client.calibrate(run))["max_repetition"] for run in ("run", "recorded"))
    assert measured == recorded
    assert measured.seen.right + measured.seen.wrong == 480


def test_only_a_sample_of_a_long_runs_texts_is_read(client: RewardClient, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(client, "run", requests())
    monkeypatch.setattr("memr_service.insight.calibration.survey.SAMPLED", 240)
    seen = by_setting(client.calibrate())["max_repetition"].seen
    assert seen.right + seen.wrong == 240


def test_without_texts_no_repetition_limit_is_proposed(client: RewardClient) -> None:
    fill(client, "run", requests(), store_text=False)
    found = client.calibrate()
    proposal = by_setting(found)["max_repetition"]
    assert (proposal.value, proposal.at, proposal.values) == (None, None, 0)
    assert f"Needs {NEEDED}" in proposal.why
    assert "max_repetition" not in found.config["components"]["explore"]["guards"]


# the run


def test_too_few_right_completions_are_refused_with_the_number_needed(client: RewardClient) -> None:
    made = requests(10)
    fill(client, "run", made)
    right = int(column(made, "outcomes").sum())
    with pytest.raises(Conflict, match=f"{right} right completions so far") as caught:
        client.calibrate()
    assert (caught.value.value, caught.value.limit) == (right, NEEDED)
    with pytest.raises(UnknownRun):
        client.calibrate("nobody")


def test_calibrating_an_official_run_is_refused(client: RewardClient) -> None:
    client.create_run(preset="official-memory-r")
    with pytest.raises(Conflict, match="official-memory-r") as caught:
        client.calibrate()
    assert "another preset" in str(caught.value.remedy)


def test_calibrating_changes_nothing_and_does_not_stop_rewards(client: RewardClient) -> None:
    made = requests(120)
    fill(client, "run", made[:90])
    fill(client, "alone", made)
    before = client.run(digest=True)
    assert client.calibrate().position == 90
    assert client.run(digest=True) == before
    with ThreadPoolExecutor(1) as thread:
        asked = thread.submit(client.calibrate)
        for request in made[90:]:
            client.reward(**request)
        assert 90 <= asked.result().position <= 120
    assert client.run(digest=True).digest == client.run("alone", digest=True).digest


def test_only_the_runs_own_history_counts(client: RewardClient) -> None:
    made = requests(150)
    fill(client, "run", made[:60])
    client.create_checkpoint(None, "here")
    for request in made[60:90]:
        client.reward(**request)
    client.restore(None, "here")
    for request in made[90:]:
        client.reward(**request)
    fill(client, "straight", made[:60] + made[90:])
    restored, straight = client.calibrate(), client.calibrate("straight")
    assert restored.model_copy(update={"run_id": "straight"}) == straight


def test_neighbours_are_counted_until_the_memory_for_prompts_is_full(
    client: RewardClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = requests()
    fill(client, "run", made)
    monkeypatch.setattr(neighbours, "PROMPT_BYTES", 64 * D * 4)
    proposal = by_setting(client.calibrate(), "explore")["neighbour_floor"]
    known, items = set(), 0
    for request in made:
        known |= set(request["prompts"])
        if len(known) > 64:
            break
        items += 8
    assert items - 40 < proposal.seen.right + proposal.seen.wrong <= items
    assert proposal.values < 64 * 63 / 2 + 1


def test_the_asynchronous_client_gets_the_same(client: RewardClient) -> None:
    async def scenario() -> None:
        async with AsyncRewardClient.embedded(encoder="hashed", run="run") as other:
            await other.create_run(explore_warmup_steps=0)
            for request in requests(60):
                await other.reward(**request)
            assert await other.calibrate() == client.calibrate()

    fill(client, "run", requests(60))
    asyncio.run(scenario())
