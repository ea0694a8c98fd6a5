"""Requests that the client sends, and how it reads responses, without a connection."""

import json
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


def test_no_path_is_made_of_what_is_not_a_name():
    for name in ("../runs?x=1", "..", ".", "a/b", ""):
        with pytest.raises(InvalidRequest, match="is not the name of a run"):
            calls.run(name, digest=False)
        with pytest.raises(InvalidRequest, match="is not the name of a checkpoint"):
            calls.delete_checkpoint("r", name)


def test_a_query_is_quoted():
    assert calls.history("r", "1&limit=2", 5).path == "/runs/r/history?after=1%26limit%3D2&limit=5"
    assert calls.audits("r", None).path == "/runs/r/audits"
    assert calls.run("r", digest=True).path == "/runs/r?digest=1"


@pytest.mark.parametrize("problem", PROBLEMS.values(), ids=PROBLEMS)
def test_every_problem_document_becomes_its_error_again(problem):
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
def test_a_response_that_is_not_memrs_is_shown_with_its_status_and_start(content, content_type):
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
