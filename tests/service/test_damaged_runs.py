"""A run that cannot be opened: it is listed, exported and deleted, and no other run notices. Files that make no run."""

from __future__ import annotations

import io
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from memr_client.errors import InvalidRequest, MalformedBody, ProblemError, Unavailable
from memr_client.schemas import RunConfig
from memr_service.run import archive, live_state
from memr_service.run.run import MOST_DIMENSIONS
from memr_service.state.codec import seal
from memr_service.state.record import Record
from support.gated_encoder import ask, rows, serving, story
from support.in_process import InProcess

DAMAGES = {
    "config": "UPDATE runs SET config = '{' WHERE run_id = 'bad'",
    "encoder": "UPDATE runs SET encoder = '{' WHERE run_id = 'bad'",
}


def request(run_id: str = "bad", seed: int = 0, d: int = 16) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    return {
        "run_id": run_id,
        "prompts": ["a", "b"],
        "completions": ["c", "d"],
        "outcomes": [1.0, 0.0],
        "step": 7,
        "embeddings": {"prompts": rng.normal(size=(2, d)), "completions": rng.normal(size=(2, d))},
    }


def test_a_new_run_takes_no_embeddings_of_more_dimensions_than_the_limit() -> None:
    with InProcess("memory:") as service:
        service.create("bad")
        with pytest.raises(InvalidRequest) as refusal:
            service.reward(**request(d=MOST_DIMENSIONS + 1))
        assert (refusal.value.value, refusal.value.limit) == (MOST_DIMENSIONS + 1, MOST_DIMENSIONS)
        assert service.info("bad").position == 0
        assert service.reward(**request(d=1024))["position"] == 1


def test_a_run_that_takes_long_to_fail_is_not_read_for_each_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, attempts = f"sqlite:///{tmp_path}", []
    with InProcess(store) as service:
        service.reward(**request())

    def fails(self: object, snapshot: object) -> None:
        attempts.append(snapshot)
        time.sleep(0.2)
        raise MemoryError

    async def told() -> None:
        async with serving(store) as service:
            for _ in range(5):
                with pytest.raises(Unavailable, match="cannot be opened"):
                    await service.runs.describe("bad")
            assert len(attempts) == 1

    monkeypatch.setattr(live_state.LiveState, "_read", fails)
    story(told)


def test_a_run_whose_state_cannot_be_made_harms_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = f"sqlite:///{tmp_path}"
    with InProcess(store) as service:
        for run_id in ("bad", "good"):
            service.reward(**request(run_id))

    def no_memory(self: object, snapshot: object) -> None:
        if self._run.run_id == "bad":  # type: ignore[attr-defined]
            raise MemoryError("Unable to allocate 38.1 GiB")
        return reads(self, snapshot)  # type: ignore[arg-type]

    reads: Callable[[object, object], None] = live_state.LiveState._read  # type: ignore[assignment]
    monkeypatch.setattr(live_state.LiveState, "_read", no_memory)

    async def told() -> None:
        async with serving(store) as service:
            listed = await service.runs.describe_all()
            assert [(run.run_id, run.position, run.step, run.damaged) for run in listed] == [
                ("bad", 1, 7, None),
                ("good", 1, 7, None),
            ]
            assert service.runs.open_names() == []
            for attempt in (service.runs.describe, service.runs.get, service.runs.describe):
                with pytest.raises(Unavailable, match="Unable to allocate") as refusal:
                    await attempt("bad")
                assert "Export it" in (refusal.value.remedy or "")
            bad, good = await service.runs.describe_all()
            assert "Unable to allocate" in (bad.damaged or "")
            assert good.damaged is None
            assert await service.ready() == {}
            assert (await ask(service, rows(run_id="good")))["position"] == 2
            file = b"".join([piece async for piece in service.runs.export("bad")])
            archive.verify(io.BytesIO(file))
            await service.runs.delete("bad")
            assert [run.run_id for run in await service.runs.describe_all()] == ["good"]

    story(told)


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_a_run_whose_row_cannot_be_read_is_listed_as_damaged(tmp_path: Path, damage: str) -> None:
    store = f"sqlite:///{tmp_path}"
    with InProcess(store) as service:
        for run_id in ("bad", "good"):
            service.reward(**request(run_id))
    with closing(sqlite3.connect(tmp_path / "memr.db")) as database, database:
        database.execute(damage)

    async def told() -> None:
        async with serving(store) as service:
            bad, good = await service.runs.describe_all()
            assert (bad.damaged, bad.position, good.damaged) == ("Its config cannot be read.", 1, None)
            await service.runs.delete("bad")
            assert [run.run_id for run in await service.runs.describe_all()] == ["good"]

    story(told)


def test_the_list_says_of_a_run_on_disk_what_it_says_of_it_in_memory(tmp_path: Path) -> None:
    listed = []

    async def told() -> None:
        async with serving(f"sqlite:///{tmp_path}") as service:
            if not listed:
                await service.runs.create("empty", RunConfig())
                await ask(service, rows(run_id="filled", step=3))
                assert service.runs.open_names() == ["empty", "filled"]
            runs = await service.runs.describe_all()
            assert await service.runs.describe_all() == runs
            if listed:
                assert service.runs.open_names() == []
            listed.append([run.model_copy(update={"windows": {}}) for run in runs])

    story(told)
    story(told)
    assert listed[0] == listed[1]


def forged(file: bytes, change: Callable[[Record], Record]) -> bytes:
    """A run file whose first record is changed and sealed again."""
    read = io.BytesIO(file)
    archive.read_header(read)
    (record, payload), *_ = archive.read_records(read)
    _, changed = seal(change(record))
    return file.replace(archive._frame(payload), archive._frame(changed))


def with_prompts(record: Record, prompts: np.ndarray) -> Record:
    return replace(record, batch=replace(record.batch, prompts=prompts))


FORGERIES: dict[str, Callable[[Record], Record]] = {
    "rows of another length": lambda one: with_prompts(one, one.batch.prompts[:, :3]),
    "a prompt that is not there": lambda one: replace(
        one, batch=replace(one.batch, prompt_of=one.batch.prompt_of + 1000)
    ),
    "no columns": lambda one: replace(one, effects=replace(one.effects, raw={"unknown": one.effects.rewards})),
    "rewards of another length": lambda one: replace(one, effects=replace(one.effects, rewards=np.empty(0))),
}


@pytest.mark.parametrize("change", FORGERIES.values(), ids=FORGERIES.keys())
def test_a_forged_file_is_refused_or_makes_a_run_that_opens(change: Callable[[Record], Record]) -> None:
    with InProcess("memory:") as service:
        service.reward(**request())
        file = forged(service.export("bad"), change)
        assert file != service.export("bad")
        try:
            service.import_run("copy", file)
        except MalformedBody:
            assert [run.run_id for run in service.store.runs.all()] == ["bad"]
        else:
            service.info("copy")
            service.delete("copy")


@pytest.mark.parametrize(
    "header",
    [
        {"config": "{}"},
        {"config": 1},
        {"config": None},
        {"encoder": "{"},
        {"encoder": 3},
        {"encoder": "[]"},
        {"created_at": 5},
        {"created_at": "yesterday"},
        {"base": -1},
        {"base": "x"},
        {"law": True},
        {"law": []},
    ],
)
def test_a_file_with_a_forged_header_makes_no_run(header: dict[str, Any]) -> None:
    with InProcess("memory:") as service:
        service.reward(**request())
        file = service.export("bad")
        length, _ = archive.FRAME.unpack(file[len(archive.MAGIC) :][: archive.FRAME.size])
        begin = len(archive.MAGIC) + archive.FRAME.size
        changed = {**orjson.loads(file[begin : begin + length]), **header}
        file = archive.MAGIC + archive._frame(orjson.dumps(changed)) + file[begin + length :]
        with pytest.raises(ProblemError) as refusal:
            service.import_run("copy", file)
        assert refusal.value.status in (409, 422)
        assert [run.run_id for run in service.store.runs.all()] == ["bad"]


def test_what_does_not_begin_like_a_run_is_refused_before_the_rest_arrives() -> None:
    async def told() -> None:
        async def chunks() -> Any:
            yield b"mem"
            yield b"orandum"
            raise AssertionError("nobody should read on")

        async with serving() as service:
            with pytest.raises(MalformedBody, match="does not begin like one"):
                await service.runs.import_file("copy", chunks())

    story(told)
