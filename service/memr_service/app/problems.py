"""Whatever is raised while a request is answered becomes one RFC 9457 problem document, here and nowhere else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson
from fastapi.exceptions import RequestValidationError
from memr_client.errors import InternalError, InvalidRequest, ProblemError, Unauthorized, UnknownRoute, WrongMethod
from starlette.exceptions import HTTPException
from starlette.responses import Response

MEDIA_TYPE = "application/problem+json"
MOST_ERRORS = 20
"""Field errors listed in one document."""

_SHOWN = {"string_pattern_mismatch", "literal_error", "greater_than_equal", "less_than", "less_than_equal"}
"""Errors of names and bounded numbers: their input may be shown. Any other string could be a text."""


def as_problem(error: Exception) -> ProblemError:
    """The problem an exception is; `InternalError`, which tells nothing, where it is none of memr's."""
    if isinstance(error, ProblemError):
        return error
    if isinstance(error, RequestValidationError):
        return invalid(error.errors())
    if isinstance(error, HTTPException) and error.status_code == 404:
        return UnknownRoute("There is no such route.", remedy="GET /openapi.json lists the routes.")
    if isinstance(error, HTTPException) and error.status_code == 405:
        return WrongMethod("This route does not know the method.", remedy="GET /openapi.json lists the routes.")
    return InternalError(
        "The service failed, which is a defect of it.",
        remedy="Report it with the request_id: the service's log has the trace under that id.",
    )


def problem_response(problem: ProblemError, request_id: str) -> Response:
    """The problem as an answer, under the id its log lines carry."""
    headers = {}
    if problem.retry_after is not None:
        headers["Retry-After"] = str(problem.retry_after)
    if isinstance(problem, Unauthorized):
        headers["WWW-Authenticate"] = "Bearer"
    if isinstance(problem, WrongMethod) and isinstance(problem.limit, list):
        headers["Allow"] = ", ".join(problem.limit)
    document = {**problem.document(), "request_id": request_id}
    content = orjson.dumps(document, default=str, option=orjson.OPT_NON_STR_KEYS | orjson.OPT_SERIALIZE_NUMPY)
    return Response(content, problem.status, headers, MEDIA_TYPE)


def invalid(errors: Sequence[Any]) -> InvalidRequest:
    """pydantic's list of errors as one problem. Texts are never repeated: only where (`loc`) and what (`msg`).

    Args:
        errors: what `ValidationError.errors()` returns; not empty.
    """
    listed = [{"loc": _place(error), "msg": error["msg"]} for error in errors[:MOST_ERRORS]]
    first = listed[0]
    where = ".".join(str(part) for part in first["loc"]) or "the body"
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    return InvalidRequest(
        f"{where}: {first['msg']}{more}.",
        value=_value(errors[0]),
        limit={name: str(limit) for name, limit in errors[0].get("ctx", {}).items() if name != "error"} or first["msg"],
        remedy="Correct the fields listed in `errors`; GET /openapi.json has the schema.",
        errors=listed,
    )


def _place(error: Any) -> list[str | int]:
    """Where the error is. A part may be a key the caller chose, so it is cut."""
    return [part if isinstance(part, int) else str(part)[:64] for part in error["loc"]]


def _value(error: Any) -> Any:
    """The refused value: a number as it is, a name cut to 80 characters, anything else by its type alone."""
    given = error.get("input")
    if isinstance(given, str) and error["type"] in _SHOWN:
        return given[:80]
    if isinstance(given, bool | int | float):
        return given if abs(given) < 2**53 else str(given)[:80]
    return f"a value of type {type(given).__name__}"
