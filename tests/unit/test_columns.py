"""Columns from any library, and how they are written on the wire."""

import json
import sys

import msgpack
import numpy as np
import pytest
from memr_client import InvalidRequest
from memr_client.columns import JSON, MSGPACK, Columns, encode, reward_request
from memr_client.schemas import RewardRequest

IDENTITY = np.eye(2, 3, dtype=np.float32)


def sent(*args, **columns):
    content, content_type = encode(reward_request(*args, **{"run_id": "run", "request_id": "one", **columns}))
    return msgpack.unpackb(content) if content_type == MSGPACK else json.loads(content)


def test_a_training_call_makes_its_own_request_id_and_an_eval_call_needs_none():
    ids = {reward_request(["q"], ["a"], [1.0], run_id="run").request_id for _ in range(100)}
    assert len(ids) == 100
    assert None not in ids
    assert reward_request(["q"], ["a"], [1.0], run_id="run", request_id="mine").request_id == "mine"
    assert reward_request(["q"], ["a"], [1.0], run_id="run", mode="eval").request_id is None


def test_only_what_was_given_is_sent():
    assert sent(["q"], ["a"], [1.0]) == {
        "run_id": "run",
        "request_id": "one",
        "prompts": ["q"],
        "completions": ["a"],
        "outcomes": [1.0],
    }
    assert sent(["q"], ["a"], [1.0], step=None, labels=None) == sent(["q"], ["a"], [1.0])


def test_chat_messages_are_sent_as_they_are_with_keys_no_schema_knows():
    prompt = [{"role": "user", "content": "2+2?", "name": "ann"}, {"role": "assistant"}]
    assert sent([prompt], [[{"role": "assistant", "content": "4"}]], [1.0])["prompts"] == [prompt]


@pytest.mark.parametrize(
    "outcomes",
    [[True, False], (1, 0), np.array([1, 0]), np.array([True, False]), [np.float32(1), 0]],
    ids=["bools", "tuple", "numpy", "numpy bools", "scalars"],
)
def test_outcomes_may_come_from_any_library(outcomes):
    assert sent(["q", "q"], ["a", "b"], outcomes)["outcomes"] == [1.0, 0.0]


def test_columns_may_come_from_any_library():
    body = sent(
        np.array(["q", "p"]), np.array(["a", "b"], object), [1.0, 0.0], index=np.arange(2), truncated=np.ones(2) > 0
    )
    assert (body["prompts"], body["completions"]) == (["q", "p"], ["a", "b"])
    assert (body["index"], body["truncated"]) == ([0, 1], [True, True])


@pytest.mark.parametrize(
    "array",
    [
        IDENTITY,
        np.eye(3, 2, dtype=np.float32).T,
    ],
    ids=["numpy", "transposed"],
)
def test_float32_arrays_are_sent_as_messagepack_bytes_in_row_major_order(array):
    body = sent(["q", "q"], ["a", "b"], [1.0, 0.0], embeddings={"prompts": array, "completions": array})
    assert body["embeddings"] == {"prompts": IDENTITY.tobytes(), "completions": IDENTITY.tobytes()}
    assert body["request_id"] == "one"


@pytest.mark.parametrize(
    "given",
    [np.eye(2) / 3, (np.eye(2) / 3).tolist(), list(np.eye(2) / 3)],
    ids=["numpy", "lists", "list of rows"],
)
def test_embeddings_that_float32_would_round_are_sent_as_json_to_the_last_digit(given):
    body = sent(["q", "q"], ["a", "b"], [1.0, 0.0], embeddings={"prompts": given, "completions": given})
    assert body["embeddings"]["prompts"] == (np.eye(2) / 3).tolist()


def test_prompts_of_a_group_share_one_row_and_are_told_apart_by_every_bit():
    a, b, c = np.array([[1, 2], [3, 0.0], [3, -0.0]], np.float32)
    rows = np.stack([a, a, b, c, b, a])
    texts = [f"{place}" for place in range(6)]
    body = sent(texts, texts, [1.0] * 6, embeddings={"prompts": rows, "completions": rows})["embeddings"]
    assert body == {
        "prompts": np.stack([a, b, c]).tobytes(),
        "completions": rows.tobytes(),
        "prompt_of": [0, 0, 1, 2, 1, 0],
    }
    itself = {"prompts": np.stack([b, a]), "completions": rows, "prompt_of": [1, 1, 0, 0, 0, 1]}
    body = sent(texts, texts, [1.0] * 6, embeddings=itself)["embeddings"]
    assert body == {**itself, "prompts": itself["prompts"].tobytes(), "completions": rows.tobytes()}
    precise = {**itself, "prompts": np.eye(2) / 3}
    assert sent(texts, texts, [1.0] * 6, embeddings=precise)["embeddings"]["prompt_of"] == itself["prompt_of"]
    assert sent([], [], [], embeddings={"prompts": rows[:0], "completions": rows[:0]})["embeddings"]["prompts"] == b""


def test_without_msgpack_the_same_numbers_go_as_json(monkeypatch):
    rows = np.random.default_rng(0).standard_normal((2, 3)).astype(np.float32)
    monkeypatch.setitem(sys.modules, "msgpack", None)
    embeddings = {"prompts": rows, "completions": rows}
    content, content_type = encode(reward_request(["q"] * 2, ["a", "b"], [1.0, 0.0], run_id="r", embeddings=embeddings))
    assert content_type == JSON
    assert (np.array(json.loads(content)["embeddings"]["prompts"], np.float32) == rows).all()


def test_an_array_of_the_wrong_shape_keeps_it_for_the_service_to_refuse():
    turned = {"prompts": IDENTITY.T, "completions": IDENTITY.T}  # (3, 2): its bytes could also be read as (2, 3)
    assert sent(["q", "q"], ["a", "b"], [1.0, 0.0], embeddings=turned)["embeddings"]["prompts"] == IDENTITY.T.tolist()


@pytest.mark.parametrize(
    ("columns", "place"),
    [
        ({"outcomes": [1.0, float("nan")]}, r"outcomes\[1\]"),
        ({"outcomes": ["1.0", 0.0]}, r"outcomes\[0\]"),
        ({"outcomes": [1.0]}, "outcomes 1"),
        ({"prompts": "why?"}, "prompts"),
        ({"prompts": ["why?", None]}, r"prompts\[1\]"),
        ({"step": -1}, "step"),
        ({"mode": "test"}, "mode"),
        ({"run_id": "a b"}, "run_id"),
        ({"request_id": "ä"}, "request_id"),
        ({"rewards": [1.0, 0.0]}, "rewards"),
        ({"part": 1}, "part and parts"),
        ({"embeddings": {"prompts": [[1.0]]}}, r"embeddings\.completions"),
    ],
)
def test_what_does_not_fit_the_wire_is_refused_before_it_is_sent(columns, place):
    fields = {"prompts": ["secret", "q"], "completions": ["secret", "b"], "outcomes": [1.0, 0.0], "run_id": "r"}
    with pytest.raises(InvalidRequest, match=place) as caught:
        encode(reward_request(**{**fields, **columns}))
    assert "secret" not in str(caught.value.document())


def test_the_columns_are_exactly_those_of_the_wire():
    assert set(Columns.__annotations__) == set(RewardRequest.model_fields) - {
        "prompts",
        "completions",
        "outcomes",
    }
