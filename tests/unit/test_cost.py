"""What scoring is expected to cost: it grows with what multiplies, and what costs too much is refused."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import numpy as np
import pytest
from memr_client.errors import InvalidRequest, TooLarge
from memr_service.rewards.cost import Size, expected_s
from memr_service.run.live_state import Limits
from memr_service.run.new_runs import check_new
from memr_service.run.presets import PRESETS
from memr_service.run.run import Run, Submission
from memr_service.settings import Settings
from memr_service.state.law import LAW
from memr_service.store.sqlite import SqliteStore
from support.batches import config, random_batch

LIMIT = Settings.model_fields["scoring_s"].default
CENTROIDS: dict[str, Any] = {"exploit": {"weight": 1.0, "centroids": 64}}


@pytest.fixture
def store() -> Iterator[SqliteStore]:
    with closing(SqliteStore(None)) as one:
        yield one


def open_run(store: SqliteStore, scoring_s: float, **fields: Any) -> Run:
    stored = store.runs.create("run", config(**fields).model_dump_json(), LAW, None, "2026-01-01T00:00:00.000+00:00")
    return Run(stored, store, None, Limits(1 << 60, scoring_s=scoring_s))  # type: ignore[arg-type]


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_stay_far_below_the_limit(preset: Any) -> None:
    full = Size.of_full(config(preset=preset), 16)
    assert expected_s(config(preset=preset), full) < LIMIT / 20
    check_new(config(preset=preset), LIMIT)


@pytest.mark.parametrize(
    "fields",
    [
        {"k": 10_000, "components": CENTROIDS},
        {"k": 10_000, "max_completions": 65_536},
        {"max_completions": 65_536, "components": CENTROIDS},
        {"preset": "official-memory-r+", "k": 10_000},
        {"barrier": "group", "group_size": 16_384, "components": {"partition": 1.0}},
    ],
)
def test_a_new_run_whose_settings_multiply_is_refused_and_an_older_one_goes_on(
    fields: dict[str, Any], store: SqliteStore
) -> None:
    with pytest.raises(InvalidRequest, match="MEMR_SCORING_S") as refusal:
        check_new(config(**fields), LIMIT)
    assert refusal.value.value > refusal.value.limit == LIMIT
    check_new(config(**fields), 1e9)
    run = open_run(store, LIMIT, **fields)
    assert run.reward(random_batch(np.random.default_rng(0), 3, 4), [Submission()]).record is not None


def test_the_estimate_grows_with_each_of_the_factors() -> None:
    def seconds(size: dict[str, int] | None = None, **fields: Any) -> float:
        given = {"items": 64, "prompts": 8, "siblings": 512, "stored_prompts": 1000, "stored": 50_000, "scored": 10_000}
        return expected_s(config(**{"k": 10, **fields}), Size(**{**given, **(size or {})}))

    for factor in ({"items": 640}, {"prompts": 64}):
        assert seconds(factor) > 1.2 * seconds()
    assert seconds(k=500) > 2 * seconds()
    assert seconds(max_completions=10) < seconds()
    assert seconds(components=CENTROIDS) > 10 * seconds()
    assert seconds({"siblings": 512_000}, components={"partition": 1.0}) > 2 * seconds()
    assert seconds(components={"value": 1.0}) > seconds()
    assert seconds(preset="official-memory-r") > seconds()


def test_a_request_that_would_take_too_long_is_refused_and_changes_nothing(store: SqliteStore) -> None:
    run, rng = open_run(store, 0.002), np.random.default_rng(0)
    before = run.state.digest()
    for refused in (run.reward, lambda batch, _: run.evaluate(batch, Submission())):
        with pytest.raises(TooLarge, match="Send fewer completions") as refusal:
            refused(random_batch(rng, 4, 100), [Submission()])
        assert refusal.value.limit == 0.002
    assert run.state.digest() == before
    run.reward(random_batch(rng, 2, 3), [Submission()])
