"""What the client sends, and what it makes of an answer, without any connection."""

import json
import subprocess
import sys
from email.utils import formatdate
from time import time

import httpx
import msgpack
import numpy as np
import pytest
import torch
from memr_client import BadAnswer, InvalidRequest, RunConfig, calls
from memr_client.errors import PROBLEMS
from memr_client.schemas import RewardRequest

IDENTITY = np.eye(2, 3, dtype=np.float32)


def sent(*args, **columns):
    call = calls.reward(*args, **{"run_id": "run", "request_id": "one", **columns})
    return msgpack.unpackb(call.content) if call.content_type == calls.MSGPACK else json.loads(call.content)


def answered(status, content=b"", **headers):
    request = httpx.Request("POST", "http://memr/reward")
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.Response(status, content=content, headers=headers, request=request)


def test_a_training_call_makes_its_own_request_id_and_an_eval_call_needs_none():
    ids = {calls.reward(["q"], ["a"], [1.0], run_id="run").request_id for _ in range(100)}
    assert len(ids) == 100
    assert None not in ids
    assert calls.reward(["q"], ["a"], [1.0], run_id="run", request_id="mine").request_id == "mine"
    assert calls.reward(["q"], ["a"], [1.0], run_id="run", mode="eval").request_id is None


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
    [[True, False], (1, 0), np.array([1, 0]), np.array([True, False]), torch.tensor([1.0, 0.0]), [torch.tensor(1), 0]],
    ids=["bools", "tuple", "numpy", "numpy bools", "torch", "scalars"],
)
def test_outcomes_may_come_from_any_library(outcomes):
    assert sent(["q", "q"], ["a", "b"], outcomes)["outcomes"] == [1.0, 0.0]


def test_columns_may_come_from_any_library():
    body = sent(
        np.array(["q", "p"]), np.array(["a", "b"], object), [1.0, 0.0], index=np.arange(2), truncated=torch.ones(2) > 0
    )
    assert (body["prompts"], body["completions"]) == (["q", "p"], ["a", "b"])
    assert (body["index"], body["truncated"]) == ([0, 1], [True, True])


@pytest.mark.parametrize(
    "array",
    [
        IDENTITY,
        np.eye(3, 2, dtype=np.float32).T,
        torch.from_numpy(IDENTITY).requires_grad_(),
        torch.eye(2, 3).bfloat16(),
    ],
    ids=["numpy", "transposed", "torch", "bfloat16"],
)
def test_float32_arrays_are_sent_as_messagepack_bytes_in_row_major_order(array):
    body = sent(["q", "q"], ["a", "b"], [1.0, 0.0], embeddings={"prompts": array, "completions": array})
    assert body["embeddings"] == {"prompts": IDENTITY.tobytes(), "completions": IDENTITY.tobytes()}
    assert body["request_id"] == "one"


@pytest.mark.parametrize(
    "given",
    [np.eye(2) / 3, (np.eye(2) / 3).tolist(), list(np.eye(2) / 3), torch.eye(2, dtype=torch.float64) / 3],
    ids=["numpy", "lists", "list of rows", "torch"],
)
def test_embeddings_that_float32_would_round_are_sent_as_json_to_the_last_digit(given):
    body = sent(["q", "q"], ["a", "b"], [1.0, 0.0], embeddings={"prompts": given, "completions": given})
    assert body["embeddings"]["prompts"] == (np.eye(2) / 3).tolist()


def test_without_msgpack_the_same_numbers_go_as_json(monkeypatch):
    rows = np.random.default_rng(0).standard_normal((2, 3)).astype(np.float32)
    monkeypatch.setitem(sys.modules, "msgpack", None)
    call = calls.reward(
        ["q", "q"], ["a", "b"], [1.0, 0.0], run_id="r", embeddings={"prompts": rows, "completions": rows}
    )
    assert call.content_type == calls.JSON
    assert (np.array(json.loads(call.content)["embeddings"]["prompts"], np.float32) == rows).all()


def test_an_array_of_the_wrong_shape_keeps_it_for_the_service_to_refuse():
    turned = {"prompts": IDENTITY.T, "completions": IDENTITY.T}  # (3, 2): as bytes it would pass for (2, 3)
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
        ({"prompts": ["\ud800", "q"]}, "UTF-8"),
        ({"embeddings": {"prompts": [[1.0]]}}, r"embeddings\.completions"),
    ],
)
def test_what_does_not_fit_the_wire_is_refused_before_it_is_sent(columns, place):
    fields = {"prompts": ["secret", "q"], "completions": ["secret", "b"], "outcomes": [1.0, 0.0], "run_id": "r"}
    with pytest.raises(InvalidRequest, match=place) as caught:
        calls.reward(**{**fields, **columns})
    assert "secret" not in str(caught.value.document())


def test_the_columns_are_exactly_those_of_the_wire():
    assert set(calls.Columns.__annotations__) == set(RewardRequest.model_fields) - {
        "prompts",
        "completions",
        "outcomes",
    }


def test_creating_a_run_sends_only_the_fields_that_were_set():
    assert json.loads(calls.create_run("r", None).content) == {}
    assert json.loads(calls.create_run("r", RunConfig(k=3, window=7), k=5).content) == {"k": 5, "window": 7}
    with pytest.raises(InvalidRequest, match="windw"):
        calls.create_run("r", None, windw=7)


def test_a_name_cannot_leave_its_place_in_the_path():
    assert calls.run("../runs?x=1", digest=False).path == "/runs/..%2Fruns%3Fx%3D1"


@pytest.mark.parametrize("problem", PROBLEMS.values(), ids=PROBLEMS)
def test_every_problem_comes_back_as_the_error_it_was(problem):
    document = problem("wrong.", value=3, limit=2, remedy="Send 2.", fields=["k"]).document()
    response = answered(problem.status, json.dumps(document), content_type=calls.PROBLEM, retry_after="7")
    error = calls.refusal(response)
    assert type(error) is problem
    assert error.document() == document
    assert error.retry_after == 7


@pytest.mark.parametrize(
    ("content", "content_type"),
    [
        (b"<html>" + b"x" * 1000, "text/html"),
        (b"<html>no problem" + b"x" * 1000, calls.PROBLEM),
        (b'["a list"]', calls.PROBLEM),
        (b'{"type": "about:blank", "title": "another service"}', calls.PROBLEM),
        (b"", "text/plain"),
    ],
)
def test_an_answer_that_is_not_memrs_is_shown_with_its_status_and_start(content, content_type):
    call = calls.version()
    with pytest.raises(BadAnswer, match="418") as caught:
        call.read(answered(418, content, content_type=content_type))
    assert content[:200].decode() in str(caught.value)
    assert "x" * 200 not in str(caught.value)
    with pytest.raises(BadAnswer, match="200"):
        call.read(answered(200, content, content_type=content_type))


def test_retry_after_is_read_as_seconds_or_as_a_date():
    assert calls.retry_after(answered(503, retry_after="12")) == 12
    assert calls.retry_after(answered(503, retry_after=formatdate(time() + 60, usegmt=True))) == pytest.approx(
        60, abs=2
    )
    assert calls.retry_after(answered(503, retry_after=formatdate(time() - 60, usegmt=True))) == 0
    assert calls.retry_after(answered(503, retry_after="soon")) == 0
    assert calls.retry_after(answered(503)) == 0


def test_the_client_needs_nothing_but_httpx_and_pydantic():
    code = """
import sys
for name in ("numpy", "torch", "msgpack", "orjson", "fastapi", "starlette", "memr_service"):
    sys.modules[name] = None
from memr_client import AsyncRewardClient, RewardClient, calls
call = calls.reward(["q"], ["a"], [1.0], run_id="r", embeddings={"prompts": [[1.0]], "completions": [[2.0]]})
assert call.content_type == "application/json"
try:
    RewardClient.embedded()
except ImportError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install 'memr[service]'" in done.stdout
