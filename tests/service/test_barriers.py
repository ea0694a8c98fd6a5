"""Barriers (law L11), at the service: who waits for whom, in what order, and what happens when somebody stays away."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from memr_client.errors import InvalidRequest, Overloaded, Unavailable
from memr_client.schemas import RewardRequest, RunConfig
from memr_service.engine.barriers import room
from memr_service.engine.barriers.base import equal_spread_of
from memr_service.engine.service import Service
from support.gated_encoder import serving, story
from support.requests import Step, ask

SOON = 30.0
"""Seconds after which a barrier that should have been answered long ago gives up."""


async def configure(service: Service, **config: Any) -> None:
    await service.runs.create("run", RunConfig(explore_warmup_steps=0, window=7, **config))


async def trained(shuffle: int, parts: int, cuts: Sequence[int], barrier: str) -> tuple[list[float], str]:
    """Rewards of six steps in item order and the final digest; the parts of each step arrive in random order."""
    rng = np.random.default_rng(shuffle)
    rewards: list[float] = []
    async with serving() as service:
        await configure(service, barrier=barrier, barrier_timeout_s=SOON)
        for number in range(6):
            step = Step(number)
            requests = [step.part(part, parts, cuts) for part in range(parts)]
            tasks: dict[int, asyncio.Task[dict[str, Any]]] = {}
            for part in rng.permutation(parts).tolist():
                tasks[part] = asyncio.create_task(ask(service, requests[part]))
                await asyncio.sleep(0)
            answers = [await tasks[part] for part in range(parts)]
            assert len({answer["chain"] for answer in answers}) == 1
            rewards += [reward for answer in answers for reward in answer["rewards"]]
        return rewards, (await service.runs.describe("run", digest=True)).digest or ""


@pytest.mark.slow
def test_rewards_do_not_depend_on_the_number_of_ranks_how_groups_are_cut_or_who_comes_first() -> None:
    one = asyncio.run(trained(0, 1, [], "none"))
    assert max(one[0]) > min(one[0])
    for shuffle in range(5):
        assert asyncio.run(trained(shuffle, 2, [6], "step")) == one
    assert asyncio.run(trained(7, 3, [1, 13], "step")) == one
    assert asyncio.run(trained(8, 4, [0, 8, 8], "step")) == one  # two parts are empty


def test_what_is_foreign_to_a_group_is_found_although_its_members_come_one_by_one() -> None:
    async def scenario() -> None:
        texts = ["12 pens are left", "so 12 pens", "12 pens, and then " + "".join(map(str, range(60))), "it is 12 pens"]
        component = {"weight": 1.0, "guards": {"max_foreign": 50, "max_copied": 0.9}}
        async with serving() as service:
            await configure(service, barrier="group", group_size=4, components={"exploit": component})
            step = Step(0)
            alone = [step.request([item]).model_copy(update={"completions": [texts[item]]}) for item in range(4)]
            answers = await asyncio.gather(*(ask(service, request) for request in alone))
            reasons = [answer["guards"]["rejected"][0] if answer["guards"]["rejected"] else [] for answer in answers]
            assert reasons == [[], [], ["exploit:foreign"], []]

    story(scenario)


def test_a_complete_step_opens_a_new_round_when_it_comes_again() -> None:
    async def scenario() -> None:
        async with serving() as service:
            await configure(service, barrier="step", barrier_timeout_s=SOON)
            for position in (1, 2):
                answers = await asyncio.gather(*(ask(service, Step(3).part(part, 2, [8])) for part in (1, 0)))
                assert [answer["position"] for answer in answers] == [position, position]

    story(scenario)


def test_a_late_part_is_answered_alone_and_counted() -> None:
    async def scenario() -> None:
        async with serving() as service:
            await configure(service, barrier="step", barrier_timeout_s=0.05)
            first = await ask(service, Step(0).part(0, 2, [8]))
            assert first["position"] == 1
            assert "1 of 2 parts" in first["warnings"][0]
            late = await ask(service, Step(0).part(1, 2, [8]))
            assert late["position"] == 2
            assert "after step 0 had timed out" in late["warnings"][0]
            state = (await service.runs.describe("run")).barrier
            assert state is not None
            assert (state.waiting, state.timeouts, state.late) == (0, 1, 1)

    story(scenario)


def test_what_contradicts_a_round_is_refused_and_the_round_goes_on() -> None:
    async def scenario() -> None:
        async with serving() as service:
            await configure(service, barrier="step", barrier_timeout_s=SOON)
            waiting = asyncio.create_task(ask(service, Step(0).part(0, 2, [8])))
            while (await service.runs.describe("run")).barrier is None:
                await asyncio.sleep(0)
            for wrong in (
                Step(0).part(1, 3, [4, 8]),  # another world size
                Step(1).request(range(8), step=0, part=0, parts=2),  # the seat has another body
                Step(0).request(range(8), step=0),  # no part
                Step(0).request(range(8), part=0, parts=2),  # no step
            ):
                with pytest.raises(InvalidRequest):
                    await service.reward(wrong)
            again = asyncio.create_task(ask(service, Step(0).part(0, 2, [8])))  # the same body: the same seat
            await asyncio.sleep(0.01)
            last = await ask(service, Step(0).part(1, 2, [8]))
            assert (await again)["rewards"] == (await waiting)["rewards"]
            assert last["position"] == 1
            assert (await service.runs.describe("run")).memory.failure.completions == 10

    story(scenario)


def test_a_retry_joins_its_first_request_even_when_that_ones_connection_is_gone() -> None:
    async def scenario() -> None:
        async with serving() as service:
            await configure(service, barrier="step", barrier_timeout_s=SOON)
            request = Step(0).part(0, 2, [8]).model_copy(update={"request_id": "rank 0"})
            first = asyncio.create_task(ask(service, request))
            while not (state := (await service.runs.describe("run")).barrier) or not state.waiting:
                await asyncio.sleep(0)
            first.cancel()
            with pytest.raises(asyncio.CancelledError):
                await first
            retry = asyncio.create_task(ask(service, request))
            await asyncio.sleep(0.02)
            await ask(service, Step(0).part(1, 2, [8]))
            answer = await retry
            repeated = await service.reward(request)
            assert repeated.replayed
            assert repeated.fields == answer
            assert (await service.runs.describe("run")).position == 1

    story(scenario)


def test_a_retry_that_comes_while_its_group_is_completed_gets_the_seat_its_first_request_took() -> None:
    async def scenario() -> None:
        async with serving() as service:
            await configure(service, barrier="group", group_size=2, barrier_timeout_s=SOON)
            for turn in range(3):
                one, two = (
                    Step(turn).request([item]).model_copy(update={"request_id": f"{turn} {item}"}) for item in (0, 1)
                )
                left = asyncio.create_task(ask(service, one))
                while not (state := (await service.runs.describe("run")).barrier) or not state.waiting:
                    await asyncio.sleep(0)
                left.cancel()
                last, retry = asyncio.create_task(ask(service, two)), asyncio.create_task(ask(service, one))
                assert (await last)["position"] == (await retry)["position"] == turn + 1
            sizes = (await service.runs.describe("run")).memory
            assert sizes.success.completions + sizes.failure.completions == 6

    story(scenario)


async def waiting(service: Service, wanted: int) -> None:
    """Return once so many requests wait."""
    while service.barriers.state().waiting != wanted:
        await asyncio.sleep(0.001)


@pytest.mark.parametrize("barrier", ["step", "group"])
def test_a_caller_who_leaves_is_taken_out_and_may_come_again(barrier: str) -> None:
    async def scenario() -> None:
        async with serving() as service:
            size = {"group_size": 4} if barrier == "group" else {}
            await configure(service, barrier=barrier, barrier_timeout_s=SOON, **size)
            parts = [Step(0).part(part, 3, [5, 10]) for part in range(3)]
            first = asyncio.create_task(ask(service, parts[0]))
            await waiting(service, 1)
            assert service.barriers.room.bytes > 0
            first.cancel()
            with pytest.raises(asyncio.CancelledError):
                await first
            await waiting(service, 0)
            assert service.barriers.room.bytes == 0
            stays = asyncio.create_task(ask(service, parts[1]))
            await waiting(service, 1)
            leaves = asyncio.create_task(ask(service, parts[0]))
            await waiting(service, 2)
            leaves.cancel()
            await waiting(service, 1)
            answers = await asyncio.gather(ask(service, parts[2]), ask(service, parts[0]), stays)
            assert {answer["position"] for answer in answers} == {1}
            assert not [text for answer in answers for text in answer["warnings"] if "timed out" in text]
            assert service.barriers.room.bytes == 0

    story(scenario)


def test_a_caller_who_leaves_does_not_take_the_seat_of_one_who_waits_for_the_same_part() -> None:
    async def scenario() -> None:
        async with serving() as service:
            await configure(service, barrier="step", barrier_timeout_s=SOON)
            one, two = (asyncio.create_task(ask(service, Step(0).part(0, 2, [8]))) for _ in range(2))
            await waiting(service, 1)
            await asyncio.sleep(0.05)
            one.cancel()
            await asyncio.sleep(0.05)
            last = await ask(service, Step(0).part(1, 2, [8]))
            assert (await two)["position"] == last["position"] == 1

    story(scenario)


@pytest.mark.parametrize("linger_s", [0.05, SOON])
def test_a_request_with_an_id_keeps_its_place_for_a_while(monkeypatch: pytest.MonkeyPatch, linger_s: float) -> None:
    monkeypatch.setattr(room, "LINGER_S", linger_s)

    async def scenario() -> None:
        async with serving() as service:
            await configure(service, barrier="step", barrier_timeout_s=SOON)
            request = Step(0).part(0, 2, [8]).model_copy(update={"request_id": "rank 0"})
            left = asyncio.create_task(ask(service, request))
            await waiting(service, 1)
            left.cancel()
            if linger_s < SOON:
                await waiting(service, 0)
                again = asyncio.create_task(ask(service, request))
                await waiting(service, 1)
            last = await ask(service, Step(0).part(1, 2, [8]))
            assert last["position"] == 1
            if linger_s < SOON:
                assert (await again)["position"] == 1
            assert (await service.reward(request)).replayed
            assert service.barriers.room.bytes == 0

    story(scenario)


def test_those_whose_callers_left_hold_a_part_of_the_limit_only() -> None:
    async def scenario() -> None:
        async with serving(max_waiting_bytes=1 << 20) as service:
            await configure(service, barrier="step", barrier_timeout_s=SOON)
            for number in range(6):
                fields = {"completions": [f"{number}" + "x" * 20_000], "prompts": ["p"], "request_id": f"id {number}"}
                request = Step(number).request([0]).model_copy(update={**fields, "step": number, "part": 0, "parts": 2})
                task = asyncio.create_task(ask(service, request))
                before = service.barriers.state().waiting
                await waiting(service, before + 1)
                task.cancel()
                await asyncio.sleep(0.02)
                assert service.barriers.room.bytes <= 1 << 17
            assert service.barriers.state().waiting == 2

    story(scenario)


def test_a_group_that_lost_everybody_does_not_time_out() -> None:
    async def scenario() -> None:
        async with serving() as service:
            await configure(service, barrier="group", group_size=2, barrier_timeout_s=0.4)
            left = asyncio.create_task(ask(service, Step(0).request([0])))
            await waiting(service, 1)
            left.cancel()
            await waiting(service, 0)
            await asyncio.sleep(0.5)
            state = service.barriers.state()
            assert (state.waiting, state.timeouts) == (0, 0)

    story(scenario)


@pytest.mark.parametrize("barrier", ["step", "group"])
def test_beyond_the_limit_on_memory_those_who_waited_longest_are_refused(barrier: str) -> None:
    async def scenario() -> None:
        async with serving(max_waiting_bytes=1 << 20) as service:
            size = {"group_size": 2} if barrier == "group" else {}
            await configure(service, barrier=barrier, barrier_timeout_s=SOON, **size)
            tasks = []
            for number in range(6):
                fields = {"completions": [f"{number}" + "x" * 120_000], "prompts": [f"prompt {number}"]}
                fields |= {"step": number, "part": 0, "parts": 2} if barrier == "step" else {}
                request = Step(number).request([0]).model_copy(update=fields)
                tasks.append(asyncio.create_task(ask(service, request)))
                await asyncio.sleep(0.05)
                assert service.barriers.room.bytes <= 1 << 20
            done = [task.done() for task in tasks]
            assert done == sorted(done, reverse=True)
            assert 1 <= sum(done) <= 3
            with pytest.raises(Overloaded, match="waited longest") as refusal:
                await tasks[0]
            assert refusal.value.retry_after
            assert service.barriers.state().waiting == 6 - sum(done)
            for task in tasks[sum(done) :]:
                task.cancel()
            await waiting(service, 0)

    story(scenario)


def test_single_completions_make_one_request_of_each_group() -> None:
    async def scenario() -> None:
        step = Step(0)
        async with serving() as whole:
            await configure(whole)
            expected = [await ask(whole, step.request(range(start, start + 4))) for start in range(0, 16, 4)]
            digest = (await whole.runs.describe("run", digest=True)).digest
        async with serving() as service:
            await configure(service, barrier="group", group_size=4, barrier_timeout_s=SOON)
            for start, one in zip(range(0, 16, 4), expected, strict=True):
                order = np.random.default_rng(start).permutation(4) + start
                tasks = {
                    item: asyncio.create_task(ask(service, step.request([item], index=[item])))
                    for item in order.tolist()
                }
                answers = [await tasks[item] for item in range(start, start + 4)]
                assert [answer["rewards"] for answer in answers] == [[reward] for reward in one["rewards"]]
                for name, values in one["components"].items():
                    assert [answer["components"][name]["raw"][0] for answer in answers] == values["raw"]
            assert (await service.runs.describe("run", digest=True)).digest == digest

    story(scenario)


def test_requests_that_share_a_group_are_answered_together() -> None:
    async def scenario() -> None:
        step = Step(0)
        async with serving() as service:
            await configure(service, barrier="group", group_size=4, barrier_timeout_s=SOON)
            one = asyncio.create_task(ask(service, step.request([0, 1, 2, 3, 4, 5])))  # a whole group and half of one
            await asyncio.sleep(0.02)
            assert not one.done()
            two = asyncio.create_task(ask(service, step.request([6, 7, 8])))  # the other half and the start of a third
            await asyncio.sleep(0.02)
            assert not one.done()
            three = await ask(service, step.request([9, 10, 11]))
            assert (await one)["position"] == (await two)["position"] == three["position"] == 1
            assert [len((await answer)["rewards"]) for answer in (one, two)] == [6, 3]

    story(scenario)


def test_groups_of_one_id_form_one_after_another() -> None:
    async def scenario() -> None:
        step = Step(0)
        async with serving() as service:
            await configure(service, barrier="group", group_size=2, barrier_timeout_s=SOON)
            answers = await asyncio.gather(*(ask(service, step.request([item])) for item in range(4)))
            assert [answer["position"] for answer in answers] == [1, 1, 2, 2]

    story(scenario)


@pytest.mark.slow
def test_a_group_that_times_out_is_answered_and_its_late_member_alone() -> None:
    async def scenario() -> None:
        step = Step(0)
        async with serving() as service:
            await configure(service, barrier="group", group_size=4, barrier_timeout_s=1.0)
            first = await asyncio.gather(*(ask(service, step.request([item])) for item in range(3)))
            assert {answer["position"] for answer in first} == {1}
            assert "3 of 4" in first[0]["warnings"][0]
            began = asyncio.get_running_loop().time()
            assert (await ask(service, step.request([3])))["position"] == 2
            assert asyncio.get_running_loop().time() - began < 0.9
            state = (await service.runs.describe("run")).barrier
            assert state is not None
            assert (state.timeouts, state.late) == (1, 1)

    story(scenario)


def test_a_late_member_is_held_like_its_group() -> None:
    async def scenario() -> None:
        step = Step(0)
        async with serving() as service:
            await configure(
                service,
                barrier="group",
                group_size=4,
                barrier_timeout_s=0.2,
                components={"random": 1.0},
                max_spread=0.5,
            )
            requests = [
                step.request([item]).model_copy(update={"equal_spread": 0.0, "outcomes": [0.0]}) for item in range(4)
            ]
            first = await asyncio.gather(*(ask(service, request) for request in requests[:3]))
            late = await ask(service, requests[3])
            assert [answer["rewards"] for answer in (*first, late)] == [[0.0]] * 4
            assert "came after their groups had timed out" in late["warnings"][0]

    story(scenario)


@pytest.mark.parametrize(
    ("of_run", "asked", "spread"),
    [
        (0.25, {None}, None),
        (0.25, {None, 0.4}, 0.25),
        (0.25, {0.1, None}, 0.1),
        (0.0, {None, 0.4}, 0.0),
        (None, {0.4}, 0.4),
    ],
)
def test_for_requests_without_an_equal_spread_the_runs_own_counts(
    of_run: float | None, asked: set[float | None], spread: float | None
) -> None:
    assert equal_spread_of(asked, RunConfig(equal_spread=of_run)) == spread
    assert equal_spread_of({None, 0.4}, RunConfig(max_spread=0.5)) == 0.0


def test_a_failed_commit_answers_everybody_and_a_retry_forms_the_round_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with serving() as service:
            await configure(service, barrier="step", barrier_timeout_s=SOON)
            with monkeypatch.context() as broken:
                broken.setattr(service.store.journal, "commit", _disk_full)
                answers = await asyncio.gather(
                    *(ask(service, Step(0).part(part, 2, [8])) for part in range(2)), return_exceptions=True
                )
                assert [type(answer) for answer in answers] == [Unavailable, Unavailable]
            answered = await asyncio.gather(*(ask(service, Step(0).part(part, 2, [8])) for part in range(2)))
            assert [answer["position"] for answer in answered] == [1, 1]

    story(scenario)


def _disk_full(*_: object) -> None:
    raise Unavailable("the disk is gone")


def test_evaluation_waits_at_no_barrier() -> None:
    async def scenario() -> None:
        async with serving() as service:
            await configure(service, barrier="group", group_size=4, barrier_timeout_s=SOON)
            answer = await ask(service, Step(0).request([0], mode="eval"))
            assert answer["position"] == 0

    story(scenario)


def test_restoring_and_closing_send_those_who_wait_away() -> None:
    async def scenario() -> None:
        async with serving() as service:
            await configure(service, barrier="step", barrier_timeout_s=SOON)
            await service.runs.on_run("run", service.runs.checkpoints.create, "start")
            waiting = asyncio.create_task(ask(service, Step(0).part(0, 2, [8])))
            while not (state := (await service.runs.describe("run")).barrier) or not state.waiting:
                await asyncio.sleep(0)
            await service.runs.on_run("run", service.runs.checkpoints.restore, "start")
            with pytest.raises(Unavailable, match="nothing of it was stored"):
                await waiting
            waiting = asyncio.create_task(ask(service, Step(0).part(0, 2, [8])))
            while not (state := (await service.runs.describe("run")).barrier) or not state.waiting:
                await asyncio.sleep(0)
        with pytest.raises(Unavailable, match="shutting down"):
            await waiting

    story(scenario)


def test_texts_are_encoded_while_others_wait() -> None:
    async def scenario() -> None:
        async with serving() as service:
            await configure(service, barrier="step", barrier_timeout_s=SOON)
            fields: dict[str, Any] = {"run_id": "run", "prompts": ["q"], "outcomes": [1.0], "step": 0, "parts": 2}
            first = asyncio.create_task(ask(service, RewardRequest(completions=["a"], part=0, **fields)))
            while not (state := (await service.runs.describe("run")).barrier) or not state.waiting:
                await asyncio.sleep(0)
            assert service.batcher.queued_texts == 0
            await ask(service, RewardRequest(completions=["b"], part=1, **fields))
            assert (await first)["timing_ms"]["encode"] > 0

    story(scenario)
