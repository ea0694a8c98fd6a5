"""What the client sends, and what it makes of an answer, without any connection."""

import json
import subprocess
import sys
from email.utils import formatdate
from time import time

import httpx
import pytest
from memr_client import BadResponse, InvalidRequest, RunConfig, calls
from memr_client.errors import PROBLEMS
from memr_client.responses import PROBLEM, error_from, retry_after


def answered(status, content=b"", **headers):
    request = httpx.Request("POST", "http://memr/reward")
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.Response(status, content=content, headers=headers, request=request)


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
    response = answered(problem.status, json.dumps(document), content_type=PROBLEM, retry_after="7")
    error = error_from(response)
    assert type(error) is problem
    assert error.document() == document
    assert error.retry_after == 7


@pytest.mark.parametrize(
    ("content", "content_type"),
    [
        (b"<html>" + b"x" * 1000, "text/html"),
        (b"<html>no problem" + b"x" * 1000, PROBLEM),
        (b'["a list"]', PROBLEM),
        (b'{"type": "about:blank", "title": "another service"}', PROBLEM),
        (b"", "text/plain"),
    ],
)
def test_an_answer_that_is_not_memrs_is_shown_with_its_status_and_start(content, content_type):
    call = calls.version()
    with pytest.raises(BadResponse, match="418") as caught:
        call.read(answered(418, content, content_type=content_type))
    assert content[:200].decode() in str(caught.value)
    assert "x" * 200 not in str(caught.value)
    with pytest.raises(BadResponse, match="200"):
        call.read(answered(200, content, content_type=content_type))


def test_retry_after_is_read_as_seconds_or_as_a_date():
    assert retry_after(answered(503, retry_after="12")) == 12
    assert retry_after(answered(503, retry_after=formatdate(time() + 60, usegmt=True))) == pytest.approx(60, abs=2)
    assert retry_after(answered(503, retry_after=formatdate(time() - 60, usegmt=True))) == 0
    assert retry_after(answered(503, retry_after="soon")) == 0
    assert retry_after(answered(503)) == 0


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
