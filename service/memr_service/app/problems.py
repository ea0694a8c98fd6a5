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
from memr_client.schemas import refusal
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
        return invalid(error.errors())
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
    """pydantic's errors as one problem. It has fields (`loc`) and messages (`msg`), never texts.

    Args:
        errors: the result of `ValidationError.errors()`, not empty.
    """
    listed = [{"loc": _path(error), "msg": error["msg"]} for error in errors[:MOST_ERRORS]]
    first = refusal(errors[0])
    more = f" {len(errors) - 1} more fields are wrong." if len(errors) > 1 else ""
    remedy = "Correct the fields listed in `errors`; GET /openapi.json has the schema."
    return InvalidRequest(
        f"{first.says}{more}",
        value=first.value,
        limit=first.limit,
        remedy=remedy if first.remedy is None else f"{first.remedy} {remedy}",
        errors=listed,
    )


def _path(error: Any) -> list[str | int]:
    """The path of the field. Each part is cut to 64 characters, because it may be a key that the caller chose."""
    return [part if isinstance(part, int) else str(part)[:64] for part in error["loc"]]
