"""The service as the routes call it: ids in flight, encoders, failures, restarts."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import numpy as np
import pytest
from memr_client.errors import Conflict, DeadlineExceeded, InvalidRequest, ProblemError, StoreFull, Unavailable
from memr_client.schemas import RewardRequest, RunConfig
from memr_service.engine.service import RewardEvent
from memr_service.run.response import Response
from memr_service.state.state import State
from support.gated_encoder import D, GatedEncoder, ask, everything, rows, serving, story, texts, until_encoding

# The same request id (L12)


def test_one_id_in_flight_twice_is_one_record_and_one_answer() -> None:
    async def told() -> None:
        encoders = GatedEncoder()
        async with serving(encoders=encoders) as service:
            encoders.gate.open.clear()
            asked = [asyncio.create_task(service.reward(texts(request_id="id"))) for _ in range(3)]
            await until_encoding(encoders.gate)
            with pytest.raises(InvalidRequest, match="another body"):
                await service.reward(texts(1, request_id="id"))
            encoders.gate.open.set()
            responses = await asyncio.gather(*asked)
            assert len({response.body for response in responses}) == 1
            assert sorted(response.replayed for response in responses) == [False, True, True]
            assert len(encoders.gate.calls) == 1
            assert (await service.runs.describe("run")).position == 1

    story(told)


def test_an_id_that_was_answered_gets_the_same_bytes_and_another_body_is_refused() -> None:
    async def told() -> None:
        encoders = GatedEncoder()
        async with serving(encoders=encoders) as service:
            first = await service.reward(texts(request_id="id"))
            assert not first.replayed
            before = await everything(service)
            assert await service.reward(texts(request_id="id")) == Response(first.body, replayed=True)
            for other in (texts(1, request_id="id"), rows(request_id="id"), texts(request_id="id", step=0)):
                with pytest.raises(InvalidRequest, match="another body") as caught:
                    await service.reward(other)
                assert caught.value.value == "id"
            assert await everything(service) == before
            assert len(encoders.gate.calls) == 1
            assert not (await service.reward(texts(request_id="id", run_id="other"))).replayed

    story(told)


def test_eval_ignores_the_id() -> None:
    async def told() -> None:
        async with serving() as service:
            await service.reward(rows(request_id="id"))
            before = await everything(service)
            for seed in (0, 1):
                assert not (await service.reward(rows(seed, request_id="id", mode="eval"))).replayed
            assert not (await service.reward(rows(0, request_id="new", mode="eval"))).replayed
            assert await everything(service) == before
            assert not (await service.reward(rows(5, request_id="new"))).replayed

    story(told)


def test_a_failed_request_leaves_its_id_free() -> None:
    async def told() -> None:
        encoders = GatedEncoder()
        async with serving(encoders=encoders) as service:
            encoders.gate.error = ValueError("a defect of the model")
            with pytest.raises(ValueError, match="a defect"):
                await service.reward(texts(request_id="id"))
            encoders.gate.error = None
            assert not (await service.reward(texts(1, request_id="id"))).replayed

    story(told)


# Encoders (L2)


def test_each_distinct_text_is_encoded_once_and_embeddings_need_no_encoder() -> None:
    async def told() -> None:
        encoders = GatedEncoder()
        async with serving(encoders=encoders) as service:
            await ask(service, rows())
            assert encoders.gate.calls == []
            await ask(service, texts(run_id="other", prompts=["q"] * 4, completions=["a", "q", "a", "b"]))
            assert encoders.gate.calls == [["q", "a", "b"]]

    story(told)


def test_a_run_is_served_only_by_the_encoder_it_is_bound_to(tmp_path: Path) -> None:
    async def told() -> None:
        store = f"sqlite:///{tmp_path}"
        async with serving(store, GatedEncoder()) as service:
            await ask(service, texts())
        other = GatedEncoder()
        other.weights = "retrained"
        async with serving(store, other) as service:
            before = await everything(service)
            for mode in ("train", "eval"):
                with pytest.raises(Conflict, match="another encoder") as caught:
                    await service.reward(texts(1, mode=mode))
                assert caught.value.value["weights"] == "retrained"
                assert caught.value.limit["weights"] == "published"
            assert await everything(service) == before
            sent = rows(1, d=384)
            assert (await ask(service, sent))["position"] == 2

    story(told)


def test_without_an_encoder_embeddings_are_served_and_texts_are_not() -> None:
    async def told() -> None:
        encoders = GatedEncoder()
        encoders.missing = True
        async with serving(encoders=encoders) as service:
            with pytest.raises(Unavailable, match="no model"):
                await service.reward(texts())
            assert await service.runs.describe_all() == []
            await ask(service, rows())
            assert (await service.runs.describe("run")).encoder is None
            with pytest.raises(ProblemError):
                await service.reward(texts())
            assert (await service.runs.describe("run")).position == 1

    story(told)


def test_a_failing_encoder_answers_every_waiter_and_changes_nothing() -> None:
    async def told() -> None:
        encoders = GatedEncoder()
        async with serving(encoders=encoders) as service:
            await ask(service, texts())
            before = await everything(service)
            encoders.gate.began.clear()
            encoders.gate.open.clear()
            encoders.gate.error = Unavailable("out of memory")
            requests = [texts(1), texts(2), texts(3, request_id="id"), texts(3, request_id="id"), texts(4, mode="eval")]
            asked = [asyncio.create_task(service.reward(request)) for request in requests]
            await until_encoding(encoders.gate)
            encoders.gate.open.set()
            for error in await asyncio.gather(*asked, return_exceptions=True):
                assert isinstance(error, Unavailable)
            assert await everything(service) == before
            encoders.gate.error = None
            assert (await ask(service, texts(3, request_id="id")))["position"] == 2

    story(told)


def test_a_request_whose_encoding_has_not_begun_by_its_deadline_changes_nothing() -> None:
    async def told() -> None:
        encoders = GatedEncoder()
        async with serving(encoders=encoders) as service:
            await ask(service, texts())
            encoders.gate.began.clear()
            encoders.gate.open.clear()
            holding = asyncio.create_task(ask(service, texts(1)))
            await until_encoding(encoders.gate)
            with pytest.raises(DeadlineExceeded):
                await service.reward(texts(2), deadline=time.monotonic() + 0.01)
            with pytest.raises(DeadlineExceeded):
                await service.reward(texts(2), deadline=time.monotonic() - 1)
            encoders.gate.open.set()
            assert (await holding)["position"] == 2
            assert (await service.runs.describe("run")).position == 2
            assert len(encoders.gate.calls) == 2

    story(told)


def test_embeddings_that_come_too_late_change_nothing_and_closing_twice_is_closing_once() -> None:
    async def told() -> None:
        async with serving() as service:
            await ask(service, rows())
            before = await everything(service)
            for mode in ("train", "eval"):
                with pytest.raises(DeadlineExceeded):
                    await service.reward(rows(1, mode=mode), deadline=time.monotonic() - 1)
            assert await everything(service) == before
            await service.close()
            await service.close()

    story(told)


def test_a_caller_that_leaves_while_waiting_costs_nothing_and_records_nothing() -> None:
    async def told() -> None:
        encoders = GatedEncoder()
        async with serving(encoders=encoders) as service:
            encoders.gate.open.clear()
            holding = asyncio.create_task(ask(service, texts()))
            await until_encoding(encoders.gate)
            leaving = [asyncio.create_task(service.reward(texts(1, **id_))) for id_ in ({}, {"request_id": "id"})]
            while service.batcher.queued_texts < 12:
                await asyncio.sleep(0)
            for task in leaving:
                task.cancel()
            await asyncio.gather(*leaving, return_exceptions=True)
            encoders.gate.open.set()
            await holding
            assert len(encoders.gate.calls) == 1
            assert (await service.runs.describe("run")).position == 1
            assert not (await service.reward(texts(1, request_id="id"))).replayed

    story(told)


def test_texts_that_were_cut_are_warned_about() -> None:
    async def told() -> None:
        encoders = GatedEncoder()
        async with serving(encoders=encoders) as service:
            assert (await ask(service, texts()))["warnings"] == []
            encoders.gate.truncates = 3
            (warning,) = (await ask(service, texts(1)))["warnings"]
            assert warning.startswith("3 of 6 texts (50%)")

    story(told)


# What is wrong changes nothing


CHAT = [{"role": "system", "content": "You are asked nothing."}]


def bad_requests() -> list[RewardRequest]:
    good = rows().embeddings
    assert good is not None
    zero, short = np.eye(4, D), np.ones((4, D - 1))
    zero[2] = 0
    return [
        rows(embeddings={"prompts": zero, "completions": good.completions}),
        rows(embeddings={"prompts": good.prompts, "completions": zero * np.nan}),
        rows(embeddings={"prompts": good.prompts, "completions": short}),
        rows(embeddings={"prompts": good.prompts[:3], "completions": good.completions}),
        rows(prompts=["q", "q", CHAT, "q"]),
        texts(prompts=["q", "q", CHAT, "q"]),
        texts(prompts=["q", "q", "\ud800", "q"]),
        texts(request_id="id", completions=["a", "a", "\udc00", "a"]),
    ]


@pytest.mark.parametrize("place", range(len(bad_requests())))
def test_a_bad_request_is_refused_creates_no_run_and_changes_none(place: int) -> None:
    async def told() -> None:
        request = bad_requests()[place]
        async with serving() as service:
            with pytest.raises(InvalidRequest) as caught:
                await service.reward(request)
            assert caught.value.limit
            assert caught.value.remedy
            assert await service.runs.describe_all() == []
            await ask(service, rows(7))
            before = await everything(service)
            with pytest.raises(InvalidRequest):
                await service.reward(request)
            assert await everything(service) == before

    story(told)


def test_another_dimension_is_refused() -> None:
    async def told() -> None:
        async with serving() as service:
            await ask(service, rows())
            before = await everything(service)
            with pytest.raises(InvalidRequest) as caught:
                await service.reward(rows(1, d=D + 1))
            assert (caught.value.value, caught.value.limit) == (D + 1, D)
            assert await everything(service) == before

    story(told)


def test_a_store_that_cannot_commit_refuses_and_the_run_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    async def told() -> None:
        async with serving() as service, serving() as twin:
            for one in (service, twin):
                await ask(one, rows(0))
            before = await everything(service)

            def full(*args: object) -> None:
                raise StoreFull("no room")

            with monkeypatch.context() as patched:
                patched.setattr(service.store.journal, "commit", full)
                with pytest.raises(StoreFull):
                    await service.reward(rows(1, request_id="id"))
            assert await everything(service) == before
            for one in (service, twin):
                await ask(one, rows(1, request_id="id"))
            strip = [{**info, "created_at": ""} for info in await everything(service)]
            assert strip == [{**info, "created_at": ""} for info in await everything(twin)]

    story(told)


@pytest.mark.parametrize("asked_first", [False, True])
def test_after_a_defect_the_run_is_read_anew_from_what_is_stored(
    asked_first: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def told() -> None:
        async with serving() as service:
            await ask(service, rows(0))
            before = await everything(service)

            def broken(self: object, record: object) -> None:
                raise AssertionError("a defect")

            with monkeypatch.context() as patched:
                patched.setattr(State, "apply", broken)
                first = await service.reward(rows(1, request_id="id"))  # it is applied behind the answer
                if asked_first:
                    for _ in range(2):
                        with pytest.raises((RuntimeError, Unavailable)):
                            await service.runs.describe("run")
                assert await service.ready() == {}
                for _ in range(500):
                    if "run run is read again" in caplog.text:
                        break
                    await asyncio.sleep(0.01)
            assert "run run is read again" in caplog.text
            assert await everything(service) != before
            again = await service.reward(rows(1, request_id="id"))
            assert again.replayed
            assert again.fields["position"] == first.fields["position"] == 2
            assert (await ask(service, rows(2)))["position"] == 3

    story(told)


# Order, restarts, the end


def test_requests_that_come_together_are_ordered_and_each_sees_all_before_it() -> None:
    async def told() -> None:
        async with serving() as service, serving() as twin:
            requests = [rows(seed, n=3) for seed in range(20)]
            answers = await asyncio.gather(*(ask(service, request) for request in requests))
            order = sorted(range(20), key=lambda place: answers[place]["position"])
            assert [answers[place]["position"] for place in order] == list(range(1, 21))
            for place in order:
                assert await ask(twin, requests[place]) == answers[place]
            assert (await service.runs.describe("run", digest=True)).digest == (
                await twin.runs.describe("run", digest=True)
            ).digest

    story(told)


def test_a_restart_within_one_directory_changes_nothing(tmp_path: Path) -> None:
    async def told() -> None:
        store, config = f"sqlite:///{tmp_path}", RunConfig(storage="float16", k=3, max_prompts=3)
        async with serving() as twin:
            async with serving(store) as service:
                for one in (service, twin):
                    await one.runs.create("half", config)
                    for seed in range(10):
                        await one.reward(rows(seed, run_id="half", request_id=f"id {seed}"))
                        await one.reward(texts(seed))
                before = await everything(service)
                stored = await service.reward(rows(3, run_id="half", request_id="id 3"))
            async with serving(store) as service:
                assert await everything(service) == before
                assert await service.reward(rows(3, run_id="half", request_id="id 3")) == stored
                for seed in range(10, 15):
                    for request in (rows(seed, run_id="half"), texts(seed)):
                        assert await ask(service, request) == await ask(twin, request)

    story(told)


def test_closing_finishes_what_is_in_flight_and_refuses_the_rest(tmp_path: Path) -> None:
    async def told() -> None:
        store, encoders = f"sqlite:///{tmp_path}", GatedEncoder()
        async with serving(store, encoders) as service:
            encoders.gate.open.clear()
            asked = asyncio.create_task(service.reward(texts(request_id="id")))
            await until_encoding(encoders.gate)
            asyncio.get_running_loop().call_later(0.05, encoders.gate.open.set)
        response = await asked
        assert not response.replayed
        with pytest.raises(Unavailable, match="shutting down"):
            await service.reward(rows())
        with pytest.raises(Unavailable, match="shutting down"):
            await service.runs.describe("run")
        assert await service.ready() == {"service": "shutting down"}
        async with serving(store, GatedEncoder()) as service:
            assert await service.reward(texts(request_id="id")) == Response(response.body, replayed=True)

    story(told)


def test_ready_names_a_store_that_cannot_be_used_and_only_the_log_says_where_it_is(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def told() -> None:
        async with serving() as service:
            assert await service.ready() == {}

            def down() -> None:
                raise Unavailable("redis://somewhere:6379 cannot be used", value="redis://somewhere:6379")

            with monkeypatch.context() as broken, caplog.at_level("WARNING", "memr.engine"):
                broken.setattr(service.store, "check", down)
                failing = await service.ready(), await service.ready()
            assert [[*one] for one in failing] == [["store"], ["store"]]
            assert "somewhere" not in str(failing)
            assert caplog.text.count("somewhere:6379 cannot be used") == 1
            assert await service.ready() == {}

    story(told)


def test_every_answered_request_is_told_to_the_observers() -> None:
    async def told() -> None:
        encoders = GatedEncoder()
        async with serving(encoders=encoders) as service:
            seen: list[RewardEvent] = []
            service.observers.append(seen.append)
            await service.reward(texts(request_id="id"))
            await service.reward(texts(request_id="id"))
            encoders.gate.truncates = 2
            await service.reward(texts(1, mode="eval"))
            assert [(event.run_id, event.mode, event.items) for event in seen] == [
                ("run", "train", 4),
                ("run", "train", 4),
                ("run", "eval", 4),
            ]
            assert [(event.response.replayed, event.encoded, event.truncated) for event in seen] == [
                (False, 6, 0),
                (True, 0, 0),
                (False, 6, 2),
            ]
            assert seen[0].response.memory == {
                "success": {"prompts": 1, "completions": 2},
                "failure": {"prompts": 1, "completions": 2},
            }
            assert seen[0].response.timing_ms["total"] > 0

    story(told)


def test_texts_are_kept_beside_unless_the_run_says_no() -> None:
    async def told() -> None:
        async with serving() as service:
            await service.runs.create("silent", RunConfig(store_text=False))
            for run_id in ("run", "silent"):
                await service.reward(rows(run_id=run_id))
                await service.reward(rows(1, run_id=run_id))
                await service.thread.ask(list, run_id=run_id)  # what follows the run's responses is done
            service.texts.flush()
            uids = {stored.run_id: stored.uid for stored in service.store.runs.all()}
            assert service.texts.get(uids["silent"], [0, 5]) == {}
            assert service.texts.get(uids["run"], [0, 5]) == {
                0: ("question 0", "answer 0 0"),
                5: ("question 2", "answer 1 1"),
            }

    story(told)
