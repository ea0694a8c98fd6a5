"""Limits on numbers that a caller chooses, and runs that were created before them."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

import pytest
from memr_client.errors import Conflict, InvalidRequest
from memr_client.schemas import MOST_IN_GROUP, MOST_PARTS, RunConfig
from memr_service.engine import checkpoints
from pydantic import ValidationError
from support.gated_encoder import ask, rows, serving, story


def test_parts_have_a_limit_and_a_step_that_misses_most_of_them_costs_nothing() -> None:
    for part, parts in ((0, MOST_PARTS + 1), (MOST_PARTS, MOST_PARTS), (0, 10**18)):
        with pytest.raises(ValidationError):
            rows(step=1, part=part, parts=parts)

    async def told() -> None:
        async with serving() as service:
            await service.runs.create("run", RunConfig(barrier="step", barrier_timeout_s=0.01))
            begun = time.process_time()
            answer = await ask(service, rows(step=1, part=3, parts=MOST_PARTS))
            assert time.process_time() - begun < 5
            (warning,) = [one for one in answer["warnings"] if "timed out" in one]
            assert "1 of 65536 parts" in warning
            assert warning.endswith("missing: [0, 1, 2, 4, 5, 6, 7, 8, 9, 10] and 65525 more")

    story(told)


@pytest.mark.parametrize(
    "config",
    [
        {"barrier": "group", "group_size": MOST_IN_GROUP + 1},
        {"reasoning_tags": ("<think>", "x" * 257)},
    ],
)
def test_a_limit_holds_for_new_runs_and_an_older_run_beyond_it_goes_on(
    tmp_path: Path, config: dict[str, object]
) -> None:
    store = f"sqlite:///{tmp_path}"

    async def refused() -> None:
        async with serving(store=store) as service:
            with pytest.raises(InvalidRequest) as refusal:
                await service.runs.create("new", RunConfig(**config))
            assert refusal.value.limit in (MOST_IN_GROUP, 256)
            assert await service.runs.describe_all() == []
            await service.runs.create("run", RunConfig())

    async def goes_on() -> None:
        async with serving(store=store) as service:
            found, created = await service.runs.create("run", older)
            assert (found.config, created) == (older, False)
            with pytest.raises(InvalidRequest):
                await service.runs.create("run", older.model_copy(update={"k": 2}))
            await service.runs.describe("run")

    story(refused)
    with sqlite3.connect(tmp_path / "memr.db") as database:
        ((stored,),) = database.execute("SELECT config FROM runs").fetchall()
        known = RunConfig.model_validate_json(stored)
        older = RunConfig.model_validate_json(known.model_copy(update=config).model_dump_json())
        database.execute("UPDATE runs SET config = ?", [older.model_dump_json()])
    database.close()
    story(goes_on)


def test_checkpoints_have_a_limit_and_one_that_exists_still_moves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "MOST_CHECKPOINTS", 2)

    async def told() -> None:
        async with serving() as service:
            await ask(service, rows())
            names = service.runs.checkpoints
            for name in ("a", "b", "a"):
                await service.runs.on_run("run", names.create, name)
            with pytest.raises(Conflict, match="at most 2"):
                await service.runs.on_run("run", names.create, "c")
            await service.runs.on_run("run", names.delete, "a")
            await service.runs.on_run("run", names.create, "c")

    story(told)
