"""The bytes of a response are a `RewardResponse`, and its fields are what they were written from."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import orjson
import pytest
from memr_client.schemas import RewardResponse
from memr_service.rewards.score import score
from memr_service.rewards.turns import Turns
from memr_service.run.response import TIMINGS, Draft, Response
from memr_service.state.record import Effects, Repairs
from memr_service.state.state import State
from support.batches import config, make_batch, unit_rows

CHAIN = bytes(range(32))


def effects() -> Effects:
    """What a first request of four items does: nobody reads the lone success, the failures read each other."""
    batch = make_batch(["a"] * 4, unit_rows(np.random.default_rng(0), 4), [1, 0, 0, 0])
    return replace(score(State(config()), batch, write=True), warnings=["a warning"])


def answered(items: list[int] | None = None, **timing_ms: float) -> RewardResponse:
    places = None if items is None else np.array(items, np.int64)
    draft = Draft.of("run", 2, 7, CHAIN, effects(), places)
    return RewardResponse.model_validate_json(draft.response(timing_ms).body)


def test_an_answer_says_what_was_done() -> None:
    done, response = effects(), answered()
    assert (response.run_id, response.branch, response.position) == ("run", 2, 7)
    assert response.chain == CHAIN.hex()
    assert response.rewards == done.rewards.tolist()
    assert response.support.model_dump() == {"success": [0, 0, 0, 0], "failure": [2, 2, 2, 2]}
    assert response.guards.rejected == [[], [], [], []]
    assert response.warmup == {"explore": 0}
    assert response.warnings == ["a warning"]
    assert response.memory.model_dump() == {
        "success": {"prompts": 1, "completions": 1},
        "failure": {"prompts": 1, "completions": 3},
    }


def test_numbers_come_through_to_the_last_bit_and_undefined_ones_as_null() -> None:
    done, response = effects(), answered()
    for name, component in response.components.items():
        assert component.scaled == done.scaled[name].tolist()
        assert component.raw == [None if np.isnan(value) else value for value in done.raw[name]]
    assert response.components["exploit"].raw == [None] * 4
    assert None not in response.components["explore"].raw


@pytest.mark.parametrize("items", [[0], [2, 0], [1, 2, 3], []])
def test_a_part_of_a_batch_gets_its_own_items_in_its_own_order(items: list[int]) -> None:
    whole, part = answered(), answered(items)
    assert part.rewards == [whole.rewards[item] for item in items]
    assert part.support.failure == [whole.support.failure[item] for item in items]
    assert part.guards.rejected == [[] for _ in items]
    for name, component in part.components.items():
        assert component.raw == [whole.components[name].raw[item] for item in items]
        assert component.scaled == [whole.components[name].scaled[item] for item in items]
    assert part.memory == whole.memory


def test_timings_are_rounded_to_microseconds_and_zero_where_nothing_was_measured() -> None:
    timing = answered(score=1.23456, total=2.0).timing_ms
    assert timing.model_dump() == {"queue": 0, "encode": 0, "score": 1.235, "commit": 0, "total": 2}
    assert set(type(timing).model_fields) == set(TIMINGS)


def test_an_answer_has_every_field_of_the_wire_and_no_other() -> None:
    fields = json.loads(Draft.of("run", 0, 1, CHAIN, effects()).response({}).body)
    assert set(fields) == set(RewardResponse.model_fields) - {"outcomes_used", "repaired", "turns"}
    repair = Repairs(np.zeros(4), [None, "4", None, None], [None, "a reason", None, None], False)
    draft = Draft.of("run", 0, 1, CHAIN, replace(effects(), repair=repair), np.array([1, 0]))
    fields = json.loads(draft.response({}).body)
    assert set(fields) == set(RewardResponse.model_fields) - {"turns"}
    assert (fields["outcomes_used"], fields["repaired"]) == ([0.0, 0.0], ["a reason", None])


def test_an_answer_about_turns_says_what_each_turn_got() -> None:
    turns = Turns(starts=np.array([0, 3]), ends=np.array([2, 3]), mean=False)
    fields = json.loads(Draft.of("run", 0, 1, CHAIN, effects(), turns=turns).response({}).body)
    assert fields["turns"] == [effects().rewards[:3].tolist(), effects().rewards[3:].tolist()]
    assert fields["rewards"] == [turn[-1] for turn in fields["turns"]]


@pytest.mark.parametrize("items", [None, [2, 0]])
def test_a_stored_response_says_in_lists_what_a_new_one_says_in_arrays(items: list[int] | None) -> None:
    positions = None if items is None else np.array(items, np.int64)
    new = Draft.of("run", 2, 7, CHAIN, effects(), positions).response({"score": 1.5})
    stored = Response(new.body, replayed=True)
    assert not new.replayed
    assert new.memory == stored.memory
    assert new.timing_ms == stored.timing_ms
    assert orjson.loads(orjson.dumps(new.fields, option=orjson.OPT_SERIALIZE_NUMPY)) == stored.fields
