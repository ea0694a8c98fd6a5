"""Everything that can go wrong, once, for both sides of the wire.

The service raises these and turns each into an RFC 9457 problem document (`type`, `title`, `status`, `detail`,
and where they apply `value`, `limit` and `remedy`); the client turns the document back into the same class.

    MemrError
    ├── ServiceUnreachable          no answer at all: nothing listens, or the connection broke on every try
    ├── BadAnswer                   an answer that is not memr's (a proxy's page, another service)
    └── ProblemError                the service answered with a problem document
        ├── InvalidRequest     422  a field is wrong; nothing changed
        ├── MalformedBody      422  the body is not JSON / MessagePack / gzip at all; nothing changed
        ├── Unauthorized       401  no key, or an unknown one
        ├── Forbidden          403  the key's scope or run prefix does not reach this
        ├── UnknownRun         404  no run of that name
        ├── UnknownCheckpoint  404  no checkpoint of that name
        ├── UnknownRoute       404  no such route
        ├── WrongMethod        405  the route exists, the method does not
        ├── Conflict           409  another config or encoder, a name already taken, a run not yet far enough
        ├── TooLarge           413  more bytes, items or characters than the server takes
        ├── UnsupportedMedia   415  a content type or encoding the server does not read
        ├── Overloaded         503  the queue is full; try again after `Retry-After` seconds
        ├── Unavailable        503  starting, draining, or the store is down; try again
        ├── DeadlineExceeded   504  not begun in time; nothing changed
        ├── StoreFull          507  no room to make the batch durable; nothing changed
        └── InternalError      500  a defect of the service; the log has it under the request's id
"""

from __future__ import annotations

from typing import Any, ClassVar

TYPE_PREFIX = "urn:memr:problem:"


class MemrError(Exception):
    """Base of every error memr raises on purpose."""


class ServiceUnreachable(MemrError):
    """No answer: nothing listens at the address, or the connection broke on every try."""


class BadAnswer(MemrError):
    """Something answered, but not a memr service."""


class ProblemError(MemrError):
    """An RFC 9457 problem: what was wrong (`value`), what is allowed (`limit`) and what to do (`remedy`)."""

    slug: ClassVar[str] = "problem"
    title: ClassVar[str] = "Problem"
    status: ClassVar[int] = 500

    def __init__(
        self,
        detail: str,
        *,
        value: Any = None,
        limit: Any = None,
        remedy: str | None = None,
        retry_after: int | None = None,
        **extra: Any,
    ) -> None:
        super().__init__(detail if remedy is None else f"{detail} {remedy}")
        self.detail = detail
        self.value = value
        self.limit = limit
        self.remedy = remedy
        self.retry_after = retry_after
        self.extra = extra

    def document(self) -> dict[str, Any]:
        """The problem as RFC 9457 members; absent ones are left out."""
        members = {"value": self.value, "limit": self.limit, "remedy": self.remedy, **self.extra}
        return {
            "type": TYPE_PREFIX + self.slug,
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            **{name: member for name, member in members.items() if member is not None},
        }

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.detail, self.value, self.limit, self.remedy, self.retry_after, self.extra)


def _rebuild(
    cls: type[ProblemError], detail: str, value: Any, limit: Any, remedy: str | None, retry: int | None, extra: Any
) -> ProblemError:
    return cls(detail, value=value, limit=limit, remedy=remedy, retry_after=retry, **extra)


class InvalidRequest(ProblemError):
    """A field is wrong; nothing changed."""

    slug, title, status = "invalid-request", "Invalid request", 422


class MalformedBody(ProblemError):
    """The body is not JSON, MessagePack or gzip; nothing changed."""

    slug, title, status = "malformed-body", "Malformed body", 422


class Unauthorized(ProblemError):
    """No key was sent, or one the server does not know."""

    slug, title, status = "unauthorized", "Unauthorized", 401


class Forbidden(ProblemError):
    """The key is known, but its scope or run prefix does not reach this."""

    slug, title, status = "forbidden", "Forbidden", 403


class UnknownRun(ProblemError):
    """No run of that name."""

    slug, title, status = "unknown-run", "Unknown run", 404


class UnknownCheckpoint(ProblemError):
    """No checkpoint of that name."""

    slug, title, status = "unknown-checkpoint", "Unknown checkpoint", 404


class UnknownRoute(ProblemError):
    """No such route."""

    slug, title, status = "unknown-route", "Unknown route", 404


class WrongMethod(ProblemError):
    """The route exists, the method does not."""

    slug, title, status = "wrong-method", "Method not allowed", 405


class Conflict(ProblemError):
    """Another config or encoder, a name already taken, or a run that is not yet far enough."""

    slug, title, status = "conflict", "Conflict", 409


class TooLarge(ProblemError):
    """More bytes, items or characters than the server takes."""

    slug, title, status = "too-large", "Too large", 413


class UnsupportedMedia(ProblemError):
    """A content type or encoding the server does not read."""

    slug, title, status = "unsupported-media", "Unsupported media type", 415


class Overloaded(ProblemError):
    """The queue is full; `retry_after` says when to come back."""

    slug, title, status = "overloaded", "Overloaded", 503


class Unavailable(ProblemError):
    """Starting, draining, or the store is down; try again."""

    slug, title, status = "unavailable", "Unavailable", 503


class DeadlineExceeded(ProblemError):
    """Not begun within the deadline; nothing changed."""

    slug, title, status = "deadline-exceeded", "Deadline exceeded", 504


class StoreFull(ProblemError):
    """No room to make the batch durable; nothing changed."""

    slug, title, status = "store-full", "Store full", 507


class InternalError(ProblemError):
    """A defect of the service; its log has the trace under the request's id."""

    slug, title, status = "internal-error", "Internal error", 500


PROBLEMS: dict[str, type[ProblemError]] = {
    cls.slug: cls
    for cls in (
        InvalidRequest, MalformedBody, Unauthorized, Forbidden, UnknownRun, UnknownCheckpoint, UnknownRoute,
        WrongMethod, Conflict, TooLarge, UnsupportedMedia, Overloaded, Unavailable, DeadlineExceeded, StoreFull,
        InternalError,
    )
}  # fmt: skip
"""Every problem by the last part of its `type`."""


def from_document(document: dict[str, Any], retry_after: int | None = None) -> ProblemError:
    """The error a problem document describes (the reverse of `ProblemError.document`).

    Raises:
        BadAnswer: the document's `type` is none of memr's.
    """
    slug = str(document.get("type", "")).removeprefix(TYPE_PREFIX)
    if slug not in PROBLEMS:
        raise BadAnswer(f"an answer of type {document.get('type')!r} is not memr's: is the address right?")
    known = {"type", "title", "status", "detail", "value", "limit", "remedy"}
    extra = {name: member for name, member in document.items() if name not in known}
    return PROBLEMS[slug](
        str(document.get("detail", "")),
        value=document.get("value"),
        limit=document.get("limit"),
        remedy=document.get("remedy"),
        retry_after=retry_after,
        **extra,
    )
