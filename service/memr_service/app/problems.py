"""Turns every exception of a request into an RFC 9457 problem document."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson
from fastapi.exceptions import RequestValidationError
from memr_client.errors import (
    InternalError,
    InvalidRequest,
    ProblemError,
    TooSlow,
    Unauthorized,
    UnknownRoute,
    WrongMethod,
)
from memr_client.schemas import distinct, place_of, refusal
from starlette.exceptions import HTTPException
from starlette.responses import Response

MEDIA_TYPE = "application/problem+json"
MOST_ERRORS = 10
"""Most field errors listed in one document."""


def as_problem(error: Exception) -> ProblemError:
    """The problem of an exception. Unexpected exceptions become an `InternalError` without details."""
    if isinstance(error, ProblemError):
        return error
    if isinstance(error, RequestValidationError):
        # What begins the path is no field: it says where in the request the field is.
        return invalid([{**one, "loc": one["loc"][1:]} for one in error.errors()])
    if isinstance(error, HTTPException) and error.status_code == 404:
        return UnknownRoute("No route has this path.", remedy="GET /openapi.json lists the routes.")
    if isinstance(error, HTTPException) and error.status_code == 405:
        return WrongMethod("This route does not have this method.", remedy="GET /openapi.json lists the routes.")
    return InternalError(
        "The service failed. This is a defect of memr.",
        remedy="Report it with the request_id: the service's log has the trace under that id.",
    )


def problem_response(problem: ProblemError, request_id: str) -> Response:
    """The problem as a response, with the id that its log lines have."""
    headers = {}
    if problem.retry_after is not None:
        headers["Retry-After"] = str(problem.retry_after)
    if isinstance(problem, Unauthorized):
        headers["WWW-Authenticate"] = "Bearer"
    if isinstance(problem, WrongMethod) and isinstance(problem.limit, list):
        headers["Allow"] = ", ".join(problem.limit)
    if isinstance(problem, TooSlow):
        headers["Connection"] = "close"
    document = {**problem.document(), "request_id": request_id}
    content = orjson.dumps(document, default=str, option=orjson.OPT_NON_STR_KEYS | orjson.OPT_SERIALIZE_NUMPY)
    return Response(content, problem.status, headers, MEDIA_TYPE)


def invalid(errors: Sequence[Any]) -> InvalidRequest:
    """pydantic's errors as one problem. It has fields (`loc`) and messages (`msg`), never prompts or completions.

    Args:
        errors: the result of `ValidationError.errors()`, not empty.
    """
    errors = distinct(errors)
    listed = [{"loc": place_of(error), "msg": error["msg"]} for error in errors[:MOST_ERRORS]]
    first, others = refusal(errors[0]), len(errors) - 1
    more = f" {others} more {'field is' if others == 1 else 'fields are'} wrong." if others else ""
    remedy = "Correct the fields listed in `errors`; GET /openapi.json has the schema."
    return InvalidRequest(
        f"{first.says}{more}",
        value=first.value,
        limit=first.limit,
        remedy=remedy if first.remedy is None else f"{first.remedy} {remedy}",
        errors=listed,
    )
