"""Guards in a run: which items are rejected and why, what enters the window, and how large a bonus may be."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import numpy as np
import pytest
from memr_client.errors import InvalidRequest
from memr_service.run import archive
from support.in_process import InProcess

D = 16


def request(seed: int = 0, n: int = 8, **fields: Any) -> dict[str, Any]:
    """Two groups; the embeddings of completions lie near their prompt's."""
    rng = np.random.default_rng(seed)
    prompts = np.repeat(np.eye(D)[:2], n // 2, axis=0)
    return {
        "run_id": "run",
        "prompts": [f"prompt {item // (n // 2)}" for item in range(n)],
        "completions": ["some words that differ " + str(rng.integers(10**9)) for _ in range(n)],
        "outcomes": rng.integers(2, size=n).astype(float).tolist(),
        "embeddings": {"prompts": prompts.tolist(), "completions": (prompts + 0.1 * rng.normal(size=(n, D))).tolist()},
        **fields,
    }


def config(guards: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {
        "explore_warmup_steps": 0,
        "components": {"exploit": 1.0, "explore": {"weight": 1.0, "guards": guards}},
        **fields,
    }


def off_topic(asked: dict[str, Any], *items: int) -> dict[str, Any]:
    for item in items:
        asked["embeddings"]["completions"][item] = np.eye(D)[9 + item].tolist()
    return asked


def test_a_rejected_item_has_a_reason_earns_nothing_and_stays_out_of_the_window() -> None:
    with InProcess("memory:") as guarded, InProcess("memory:") as plain:
        guarded.create("run", **config({"topic_floor": 0.5}))
        plain.create("run", **config({}))
        for seed in range(6):
            guarded.reward(**request(seed))
            plain.reward(**request(seed))
        before = guarded.info("run").windows["explore"]
        asked = off_topic(request(9), 2, 5) | {"mode": "eval"}
        answer, unguarded = guarded.reward(**asked), plain.reward(**asked)
        assert [bool(reasons) for reasons in answer["guards"]["rejected"]] == [item in (2, 5) for item in range(8)]
        assert answer["guards"]["rejected"][2] == ["explore:off_topic"]
        explore = answer["components"]["explore"]
        assert explore["raw"][2] is None
        assert explore["scaled"][2] == 0
        assert unguarded["components"]["explore"]["scaled"][2] > 0.5
        assert answer["components"]["exploit"] == unguarded["components"]["exploit"]
        guarded.reward(**off_topic(request(9), 2, 5))
        after = guarded.info("run").windows["explore"]
        assert after.max == before.max
        assert after.count == before.count + 6
        assert guarded.history("run")[-1].rejected == {"explore:off_topic": 2}


@pytest.mark.parametrize(
    ("guards", "changes", "reason", "rejected"),
    [
        ({"min_chars": 20}, {"completions": ["short"] + ["long enough to be more than that"] * 7}, "too_short", [0]),
        ({"max_chars": 40}, {"completions": ["x" * 41] + ["short"] * 7}, "too_long", [0]),
        (
            {"max_repetition": 0.5},
            {"completions": ["again and again, " * 40] + ["once upon a time"] * 7},
            "repetitive",
            [0],
        ),
        ({"drop_truncated": True}, {"truncated": [False] * 7 + [True]}, "truncated", [7]),
        (
            {"max_copied": 0.5},
            {"prompts": ["how many are left?"] * 8, "completions": ["how many are left?"] + ["5"] * 7},
            "copied",
            [0],
        ),
        (
            {"max_foreign": 100},
            {"completions": ["".join(map(str, range(99)))] + ["two and two is four"] * 7},
            "foreign",
            [0],
        ),
        ({"only_if": "incorrect"}, {"outcomes": [1.0] + [0.0] * 7}, "other_outcome", [0]),
        ({"only_if": "correct"}, {"outcomes": [0.0] + [1.0] * 7}, "other_outcome", [0]),
        ({"mixed_groups_only": True}, {"outcomes": [0.0] * 4 + [1.0, 0.0] * 2}, "unmixed_group", [0, 1, 2, 3]),
        (
            {"neighbour_floor": 0.5},
            {"prompt_ids": ["new"] * 4 + ["prompt 1"] * 4, "outcomes": [1.0] * 8},
            "no_near_prompt",
            [0, 1, 2, 3],
        ),
    ],
)
def test_each_guard_rejects_the_items_it_is_for(
    guards: dict[str, Any], changes: dict[str, Any], reason: str, rejected: list[int]
) -> None:
    with InProcess("memory:") as service:
        service.create("run", **config(guards))
        service.reward(**request(1, prompt_ids=["prompt 1"] * 8) | {"outcomes": [0.0] * 8})
        asked = request(2, **changes)
        if reason == "no_near_prompt":
            asked["embeddings"]["prompts"][:4] = [np.eye(D)[7].tolist()] * 4
        told = service.reward(**asked)["guards"]["rejected"]
        assert [item for item, reasons in enumerate(told) if f"explore:{reason}" in reasons] == rejected


def test_limits_that_reject_most_right_completions_give_a_warning() -> None:
    with InProcess("memory:") as service:
        service.create("run", **config({"topic_floor": 0.5}))
        right = {"outcomes": [1.0] * 5 + [0.0] * 3}
        assert service.reward(**off_topic(request(1) | right, 0, 1, 5, 6))["warnings"] == []
        for mode in ("eval", "train"):
            (told,) = service.reward(**off_topic(request(2) | right, 0, 1, 2), mode=mode)["warnings"]
            assert told.startswith("3 of 5 right completions were rejected, mostly as 'off_topic'")
        few = off_topic(request(3), 0, 1, 2) | {"outcomes": [1.0] + [0.0] * 7}
        assert service.reward(**few)["warnings"] == []


def test_a_cap_bounds_the_bonus_by_the_outcome_and_annealing_fades_it() -> None:
    with InProcess("memory:") as service:
        guards = {"cap": 0.25}
        service.create("run", components={"exploit": {"weight": 4.0, "guards": guards}})
        service.create("fading", components={"exploit": {"weight": 4.0, "guards": {"anneal": [10, 20]}}})
        for seed in range(5):
            answer = service.reward(**request(seed))
            paid, outcomes = np.array(answer["rewards"]), np.array(request(seed)["outcomes"])
            assert (np.abs(paid) <= 0.25 * outcomes + 1e-12).all()
        assert paid.max() == pytest.approx(0.25)
        for step, factor in ((0, 1.0), (10, 1.0), (15, 0.5), (20, 0.0), (99, 0.0)):
            answer = service.reward(**request(step, step=step) | {"run_id": "fading"})
            scaled = np.array(answer["components"]["exploit"]["scaled"])
            assert answer["rewards"] == pytest.approx(4.0 * factor * scaled, abs=1e-12)


def test_a_component_that_one_side_earns_is_evaluated_on_both() -> None:
    with InProcess("memory:") as service:
        component = {"weight": 2.0, "guards": {"earned_by": "correct"}}
        service.create("run", components={"exploit": component, "banded_novelty": component})
        service.create("plain", components={"exploit": 2.0, "banded_novelty": 2.0})
        for seed in range(5):
            answer, plain = service.reward(**request(seed)), service.reward(**request(seed) | {"run_id": "plain"})
            assert answer["components"] == plain["components"]
            right = np.array(request(seed)["outcomes"]) > 0.5
            assert not any(answer["guards"]["rejected"])
            # wrong ones get the least that either pays: 0 of a scaled value, and the lower end of the band
            assert np.array(answer["rewards"]) == pytest.approx(np.where(right, plain["rewards"], -2.0))
        assert service.info("run").windows == service.info("plain").windows


def test_within_each_group_the_spread_is_at_most_a_share_of_that_of_the_outcomes() -> None:
    with InProcess("memory:") as service:
        service.create("run", explore_warmup_steps=0, max_spread=0.5)
        for seed in range(12):
            asked = request(seed)
            answer = service.reward(**asked)
            for start in (0, 4):
                rewards, outcomes = answer["rewards"][start : start + 4], asked["outcomes"][start : start + 4]
                assert np.ptp(rewards) <= 0.5 * np.ptp(outcomes) + 1e-9


@pytest.mark.parametrize(("of_run", "of_request", "most"), [(0.1, None, 0.1), (0.1, 0.0, 0.0), (None, 0.2, 0.2)])
def test_equal_outcomes_spread_by_at_most_what_the_run_or_the_request_allows(
    of_run: float | None, of_request: float | None, most: float
) -> None:
    with InProcess("memory:") as service:
        service.create("run", explore_warmup_steps=0, max_spread=0.5, equal_spread=of_run)
        spreads = []
        for seed in range(12):
            asked = request(seed) | {"outcomes": [0.0] * 4 + [1.0, 0.0, 1.0, 0.0], "equal_spread": of_request}
            rewards = np.array(service.reward(**asked)["rewards"])
            spreads.append(np.ptp(rewards[:4]))
            assert np.ptp(rewards[4:]) <= 0.5 + 1e-9
        assert max(spreads) == pytest.approx(most, abs=1e-9)


def test_a_requests_spread_is_kept_with_its_record() -> None:
    with InProcess("memory:") as service:
        service.create("run", explore_warmup_steps=0, max_spread=0.5, equal_spread=0.2)
        asked = request(0) | {"outcomes": [0.0] * 8}
        assert service.reward(**asked, equal_spread=0.0)["rewards"] == [0.0] * 8
        assert np.ptp(service.reward(**request(1) | {"outcomes": [0.0] * 8})["rewards"]) > 0
        file = BytesIO(service.export("run"))
    archive.read_base(file, archive.read_header(file))
    assert [record.batch.equal_spread for record, _ in archive.read_records(file)] == [0.0, None]


@pytest.mark.parametrize("given", [{"preset": "official-memory-r+"}, {"barrier": "snapshot", "group_size": 4}])
def test_a_requests_spread_is_refused_where_groups_are_not_known(given: dict[str, Any]) -> None:
    with InProcess("memory:") as service:
        service.create("run", **given)
        with pytest.raises(InvalidRequest, match="equal_spread needs whole groups"):
            service.reward(**request(0), equal_spread=0.0)
        assert service.info("run").position == 0


@pytest.mark.parametrize(("bounds", "least"), [("min-max", 0.0), ("p5-p95", 0.5), ("rank", 0.5)])
def test_robust_bounds_keep_the_spread_of_real_values_with_junk_in_the_window(bounds: str, least: float) -> None:
    with InProcess("memory:") as service:
        service.create("run", explore_warmup_steps=0, components={"explore": {"weight": 1.0, "bounds": bounds}})
        for seed in range(20):
            asked = request(seed) | {"outcomes": [0.0] * 8}
            service.reward(**(off_topic(asked, 3) if seed in (15, 17, 19) else asked))
        scaled = service.reward(**request(99) | {"mode": "eval"})["components"]["explore"]["scaled"]
    assert np.ptp(scaled) > least if least else np.ptp(scaled) < 0.2
