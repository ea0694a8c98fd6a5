"""Every exception becomes a problem document, and the table of problems is complete."""

import json

import numpy as np
import pytest
from fastapi.exceptions import RequestValidationError
from memr_client import errors
from memr_client.errors import PROBLEMS, InternalError, InvalidRequest, MemrError, ProblemError
from memr_service.app.problems import as_problem, invalid, problem_response
from starlette.exceptions import HTTPException


@pytest.mark.parametrize("cls", PROBLEMS.values())
def test_every_problem_keeps_its_status_type_and_members(cls):
    raised = cls("It went wrong.", value=1, limit=2, remedy="Do this.", retry_after=7)
    response = problem_response(raised, "id-1")
    document = json.loads(response.body)
    assert response.status_code == cls.status == document["status"]
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["retry-after"] == "7"
    assert document == {
        "type": f"urn:memr:problem:{cls.slug}", "title": cls.title, "status": cls.status, "detail": "It went wrong.",
        "value": 1, "limit": 2, "remedy": "Do this.", "request_id": "id-1",
    }  # fmt: skip
    again = errors.from_document(document, retry_after=7)
    assert (type(again), again.detail, again.limit) == (cls, raised.detail, raised.limit)


def test_every_problem_class_is_in_the_table():
    assert set(PROBLEMS.values()) == set(ProblemError.__subclasses__())


@pytest.mark.parametrize("error", [ValueError("secret"), MemrError("secret"), HTTPException(418, "secret"), KeyError()])
def test_other_exceptions_become_an_internal_error_without_details(error):
    problem = as_problem(error)
    assert isinstance(problem, InternalError)
    assert "secret" not in json.dumps(problem.document())


@pytest.mark.parametrize(("status", "slug"), [(404, "unknown-route"), (405, "wrong-method")])
def test_the_frameworks_own_errors_become_problems(status, slug):
    assert as_problem(HTTPException(status)).slug == slug


def test_the_frameworks_validation_becomes_one_invalid_request():
    raised = RequestValidationError(
        [{"type": "int_parsing", "loc": ("header", "X"), "msg": "Not a number", "input": "text"}]
    )
    problem = as_problem(raised)
    assert isinstance(problem, InvalidRequest)
    assert problem.document()["errors"] == [{"loc": ["X"], "msg": "Not a number"}]
    assert problem.detail == "X is a text, but must be a whole number."
    assert problem.value == "text"


def test_401_names_the_scheme_and_405_the_methods():
    unauthorized = problem_response(errors.Unauthorized("No key."), "id")
    wrong = problem_response(errors.WrongMethod("No.", limit=["GET", "PUT"]), "id")
    assert unauthorized.headers["www-authenticate"] == "Bearer"
    assert wrong.headers["allow"] == "GET, PUT"


@pytest.mark.parametrize("value", [float("nan"), np.float32(1.5), {1: 2}, {1, 2}, b"bytes", 2**53, object()])
def test_a_problem_can_be_written_whatever_its_value_is(value):
    response = problem_response(InvalidRequest("Wrong.", value=value), "id")
    assert json.loads(response.body)["detail"] == "Wrong."


@pytest.mark.parametrize(
    ("given", "kind", "shown"),
    [
        (-1, "greater_than_equal", -1),
        (2**70, "less_than", str(2**70)),
        (float("nan"), "finite_number", "nan"),
        ("x" * 500, "string_pattern_mismatch", "x" * 80),
        ("a whole text", "list_type", "a whole text"),
        (["a text"], "string_type", '["a text"]'),
        ({"a": {"b": [None, True]}}, "string_type", '{"a": {"b": [null, true]}}'),
        ([0] * 10**6, "string_type", f"[{'0, ' * 26}0..."),
        (None, "string_type", "null"),
        (object(), "string_type", '"object"'),
    ],
)
def test_what_was_refused_is_shown_shortened(given, kind, shown):
    problem = invalid([{"type": kind, "loc": ("f",), "msg": "No", "input": given, "ctx": {"ge": 0}}])
    assert problem.value == shown


@pytest.mark.parametrize("field", ["prompts", "completions", "query", "prompt", "completion"])
def test_prompts_and_completions_are_not_repeated(field):
    wrong = [
        {"type": "list_type", "loc": (field,), "msg": "No", "input": "a private text"},
        {"type": "string_type", "loc": (field, 0), "msg": "No", "input": {"content": "a private text"}},
    ]
    assert [invalid([one]).value for one in wrong] == ["a text of 14 characters", "an object of 1 entry"]
    assert "private" not in json.dumps(invalid(wrong).document())


def test_an_error_says_its_value_limit_and_remedy_in_lines_and_in_logs_one_line():
    error = InvalidRequest("k is 0.", value=0, limit="at least 1", remedy="Raise it.")
    assert str(error) == "k is 0.\nvalue: 0\nlimit: at least 1\nremedy: Raise it."
    assert error.in_one_line == "k is 0. Raise it."
    assert str(InvalidRequest("No.")) == InvalidRequest("No.").in_one_line == MemrError("No.").in_one_line == "No."
