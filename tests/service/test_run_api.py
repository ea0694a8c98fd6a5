"""Runs as the routes call them: created, configured, served by no other law, deleted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from memr_client.errors import Conflict, UnknownRun
from memr_client.schemas import RunConfig
from memr_service.run.presets import resolve
from memr_service.state.law import LAW
from support.gated_encoder import GatedEncoder, ask, everything, rows, serving, story, texts, until_encoding


def test_an_unknown_run_is_created_by_training_and_by_nothing_else() -> None:
    async def told() -> None:
        async with serving() as service:
            for attempt in (
                ask(service, rows(mode="eval")),
                ask(service, texts(mode="eval")),
                service.runs.describe("run"),
            ):
                with pytest.raises(UnknownRun):
                    await attempt
            with pytest.raises(UnknownRun):
                await service.runs.delete("run")
            assert await service.runs.describe_all() == []
            await ask(service, rows())
            (info,) = await service.runs.describe_all()
            assert (info.run_id, info.position, info.config.preset) == ("run", 1, "memory-r+")

    story(told)


def test_a_server_may_refuse_to_create_runs_by_training() -> None:
    async def told() -> None:
        async with serving(auto_create=False) as service:
            for request in (rows(), texts(request_id="id"), texts(n=0)):
                with pytest.raises(UnknownRun):
                    await service.reward(request)
            assert await service.runs.describe_all() == []
            await service.runs.create("run", RunConfig())
            assert (await ask(service, rows()))["position"] == 1

    story(told)


def test_a_run_that_training_creates_has_the_servers_preset() -> None:
    async def told() -> None:
        async with serving(default_preset="memory-r") as service:
            answer = await ask(service, rows())
            assert list(answer["components"]) == ["exploit"]

    story(told)


def test_a_server_that_is_told_nothing_pays_attempts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MEMR_DEFAULT_PRESET")

    async def told() -> None:
        async with serving() as service:
            await ask(service, rows())
            assert (await service.runs.describe("run")).config == resolve(
                RunConfig(preset="attempts"), "memory-r", "hashed"
            )

    story(told)


def test_a_run_with_records_keeps_its_preset_when_the_servers_default_changes(tmp_path: Path) -> None:
    async def before() -> None:
        async with serving(store=f"sqlite:///{tmp_path}", default_preset="memory-r") as service:
            await service.runs.create("run", RunConfig(k=2))
            await service.runs.create("empty", RunConfig(k=2))
            await ask(service, rows())

    async def after() -> None:
        async with serving(store=f"sqlite:///{tmp_path}", default_preset="attempts") as service:
            found, created = await service.runs.create("run", RunConfig(k=2))
            assert (found.config.preset, created) == ("memory-r", False)
            assert (await ask(service, rows()))["position"] == 2
            with pytest.raises(Conflict) as caught:
                await service.runs.create("run", RunConfig(k=2, preset="attempts"))
            assert "preset" in caught.value.extra["fields"]
            found, _ = await service.runs.create("empty", RunConfig(k=2))
            assert found.config.preset == "attempts"

    story(before)
    story(after)


def test_a_config_may_be_replaced_until_the_first_record_and_then_is_409_by_field() -> None:
    async def told() -> None:
        async with serving() as service:
            first, created = await service.runs.create("run", RunConfig(k=2))
            assert created
            again, created = await service.runs.create("run", RunConfig(k=2, window=100))
            assert not created
            assert again == first
            replaced, created = await service.runs.create("run", RunConfig(k=3, storage="float16"))
            assert not created
            assert replaced.config.k == 3
            await ask(service, rows())
            before = await everything(service)
            assert (await service.runs.create("run", RunConfig(k=3, storage="float16")))[1] is False
            with pytest.raises(Conflict) as caught:
                await service.runs.create("run", RunConfig(k=4))
            assert caught.value.extra["fields"] == ["k", "storage"]
            assert caught.value.value == {"k": 4, "storage": "float32"}
            assert caught.value.limit == {"k": 3, "storage": "float16"}
            assert 'k is 3, not 4; storage is "float16", not "float32"' in str(caught.value)
            assert await everything(service) == before

    story(told)


def test_no_items_are_answered_and_make_no_record() -> None:
    async def told() -> None:
        async with serving() as service:
            for exists in (False, True):
                for request in (texts(n=0), texts(n=0, request_id="id"), texts(n=0, step=3)):
                    response = await service.reward(request)
                    assert response.fields["rewards"].tolist() == []
                    assert not response.replayed
                before = await everything(service)
                assert len(before) == exists  # a request without items creates no run
                assert all(run["step"] is None for run in before)
                await ask(service, rows())
            assert (await service.runs.describe("run")).position == 2
            await service.reward(rows(9, request_id="id"))

    story(told)


def test_a_run_of_another_law_is_not_touched() -> None:
    async def told() -> None:
        async with serving() as service:
            service.store.runs.create("run", RunConfig().model_dump_json(), LAW + 1, None, "2025-01-01T00:00:00Z")
            for attempt in (
                ask(service, rows()),
                service.runs.describe("run"),
                service.runs.create("run", RunConfig()),
            ):
                with pytest.raises(Conflict, match="law"):
                    await attempt

    story(told)


def test_a_deleted_run_is_gone_and_its_name_is_free() -> None:
    async def told() -> None:
        async with serving() as service:
            first = await ask(service, rows(request_id="id"))
            await service.runs.delete("run")
            with pytest.raises(UnknownRun):
                await service.runs.describe("run")
            assert await ask(service, rows(request_id="id")) == first

    story(told)


@pytest.mark.slow
def test_other_runs_take_turns_with_forks_imports_and_deletions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is done in many visits to the run thread: another run's request that comes meanwhile is answered before."""
    for name in ("memr_service.store.sqlite.runs.PART_BYTES", "memr_service.engine.run_api.PIECES_BYTES"):
        monkeypatch.setattr(name, 1)
    monkeypatch.setattr("memr_service.store.sqlite.database.TIDY_PAGES", 1)

    async def told() -> None:
        async with serving(store=f"sqlite:///{tmp_path}") as service:
            for _ in range(30):
                await ask(service, rows())
            await ask(service, rows(run_id="other"))
            digest = (await service.runs.describe("run", digest=True)).digest
            exported = [piece async for piece in service.runs.export("run")]

            async def pieces() -> AsyncIterator[bytes]:
                for piece in exported:
                    yield piece

            for long in (
                service.runs.fork("run", "fork", None),
                service.runs.import_file("import", pieces()),
                service.runs.delete("run"),
            ):
                working = asyncio.create_task(long)
                for _ in range(3):
                    await ask(service, rows(run_id="other"))
                    assert not working.done()
                await working
            for copy in ("fork", "import"):
                assert (await service.runs.describe(copy, digest=True)).digest == digest

    story(told)


@pytest.mark.parametrize("auto_create", [True, False])
def test_a_run_deleted_while_its_request_is_encoded_is_as_if_it_had_come_after(auto_create: bool) -> None:
    async def told() -> None:
        encoders = GatedEncoder()
        async with serving(encoders=encoders, auto_create=auto_create) as service:
            await service.runs.create("run", RunConfig(k=7))
            await ask(service, texts())
            encoders.gate.began.clear()
            encoders.gate.open.clear()
            asked = asyncio.create_task(ask(service, texts(1)))
            await until_encoding(encoders.gate)
            await service.runs.delete("run")
            encoders.gate.open.set()
            if auto_create:
                assert (await asked)["position"] == 1
                assert (await service.runs.describe("run")).config.k == 1
            else:
                with pytest.raises(UnknownRun):
                    await asked
                assert await service.runs.describe_all() == []

    story(told)


def test_a_config_replaced_while_the_first_request_is_encoded_is_the_one_that_counts() -> None:
    async def told() -> None:
        encoders = GatedEncoder()
        async with serving(encoders=encoders) as service:
            await service.runs.create("run", RunConfig())
            encoders.gate.open.clear()
            asked = asyncio.create_task(ask(service, texts(completions=["<t>in</t>side"] * 4)))
            await until_encoding(encoders.gate)
            await service.runs.create("run", RunConfig(reasoning_tags=("<t>", "</t>")))
            encoders.gate.open.set()
            assert (await asked)["position"] == 1
            assert [call[-1] for call in encoders.gate.calls] == ["<t>in</t>side", "in"]

    story(told)
