"""Every error of memr, defined once for both sides of the wire.

The service raises these errors and sends each as an RFC 9457 problem document (`type`, `title`, `status`, `detail` and,
where they apply, `value`, `limit` and `remedy`). The client turns the document back into the same class.

    MemrError
    ├── ServiceUnreachable          no response: nothing listens, or the connection broke on every try
    ├── BadResponse                 the response is not memr's: a proxy's page, another service
    └── ProblemError                the service responded with a problem document
        ├── InvalidRequest     422  a field is wrong; nothing changed
        ├── MalformedBody      422  the body is not valid JSON, MessagePack or gzip; nothing changed
        ├── Unauthorized       401  the API key is missing or unknown
        ├── Forbidden          403  the key's scope or run prefix, the Host or the Origin does not allow this
        ├── UnknownRun         404  no run has this name
        ├── UnknownCheckpoint  404  no checkpoint has this name
        ├── UnknownPrompt      404  the run knows nothing of this prompt
        ├── UnknownRoute       404  no route has this path
        ├── WrongMethod        405  the route does not have this method
        ├── TooSlow            408  the headers or the body did not arrive in time; nothing changed
        ├── Conflict           409  the run's config or encoder differs, the name is taken, or the run is too short
        ├── TooLarge           413  more bytes, items or characters than the server accepts
        ├── UnsupportedMedia   415  the server does not read this content type or encoding
        ├── Overloaded         503  the queue is full; try again after `Retry-After` seconds
        ├── Unavailable        503  the service is starting or stopping, or its store is down; try again
        ├── DeadlineExceeded   504  the request was not started in time; nothing changed
        ├── StoreFull          507  the store has no room; nothing changed
        ├── EncoderUnusable    500  the server cannot load its encoder; another try changes nothing
        └── InternalError      500  a defect of the service; its log has the trace under the request's id
"""

from __future__ import annotations

from typing import Any, ClassVar

TYPE_PREFIX = "urn:memr:problem:"


class MemrError(Exception):
    """Base of every error memr raises on purpose."""

    @property
    def in_one_line(self) -> str:
        """What is wrong and what to do, for logs and as part of another message."""
        return str(self)


class ServiceUnreachable(MemrError):
    """No response: nothing listens at the address, or the connection broke on every try."""


class BadResponse(MemrError):
    """The response does not come from a memr service."""


class ProblemError(MemrError):
    """A problem document (RFC 9457).

    Attributes:
        detail: what is wrong, in one sentence.
        value: the value that was refused.
        limit: the values that are allowed.
        remedy: what to do.
        retry_after: seconds to wait before another try.
        extra: other members of the document, for example `request_id`.
    """

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
        super().__init__(detail)
        self.detail = detail
        self.value = value
        self.limit = limit
        self.remedy = remedy
        self.retry_after = retry_after
        self.extra = extra

    def __str__(self) -> str:
        """What is wrong, then a line each for the value, the limit and the remedy."""
        members = {"value": self.value, "limit": self.limit, "remedy": self.remedy}
        return "\n".join([self.detail, *(f"{name}: {one}" for name, one in members.items() if one is not None)])

    @property
    def in_one_line(self) -> str:
        """What is wrong and what to do, for logs and as part of another message."""
        return self.detail if self.remedy is None else f"{self.detail} {self.remedy}"

    def document(self) -> dict[str, Any]:
        """The problem as members of an RFC 9457 document, without those that are None."""
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


class InvalidRequest(ProblemError, ValueError):
    """A field is wrong; nothing changed."""

    slug, title, status = "invalid-request", "Invalid request", 422


class MalformedBody(ProblemError):
    """The body is not valid JSON, MessagePack or gzip; nothing changed."""

    slug, title, status = "malformed-body", "Malformed body", 422


class Unauthorized(ProblemError):
    """The API key is missing or unknown."""

    slug, title, status = "unauthorized", "Unauthorized", 401


class Forbidden(ProblemError):
    """The API key's scope or run prefix, or the request's Host or Origin, does not allow this."""

    slug, title, status = "forbidden", "Forbidden", 403


class UnknownRun(ProblemError):
    """No run has this name."""

    slug, title, status = "unknown-run", "Unknown run", 404


class UnknownCheckpoint(ProblemError):
    """No checkpoint has this name."""

    slug, title, status = "unknown-checkpoint", "Unknown checkpoint", 404


class UnknownPrompt(ProblemError):
    """The run knows nothing of this prompt."""

    slug, title, status = "unknown-prompt", "Unknown prompt", 404


class UnknownRoute(ProblemError):
    """No route has this path."""

    slug, title, status = "unknown-route", "Unknown route", 404


class WrongMethod(ProblemError):
    """The route does not have this method."""

    slug, title, status = "wrong-method", "Method not allowed", 405


class TooSlow(ProblemError):
    """The headers or the body of the request did not arrive in time; nothing changed."""

    slug, title, status = "too-slow", "Request timeout", 408


class Conflict(ProblemError):
    """The run's config or encoder differs, the name is taken, or the run is too short."""

    slug, title, status = "conflict", "Conflict", 409


class TooLarge(ProblemError):
    """The request has more bytes, items or characters than the server accepts."""

    slug, title, status = "too-large", "Too large", 413


class UnsupportedMedia(ProblemError):
    """The server does not read this content type or encoding."""

    slug, title, status = "unsupported-media", "Unsupported media type", 415


class Overloaded(ProblemError):
    """The queue is full; try again after `retry_after` seconds."""

    slug, title, status = "overloaded", "Overloaded", 503


class Unavailable(ProblemError):
    """The service is starting or stopping, or its store is down; try again."""

    slug, title, status = "unavailable", "Unavailable", 503


class DeadlineExceeded(ProblemError):
    """The request was not started within its deadline; nothing changed."""

    slug, title, status = "deadline-exceeded", "Deadline exceeded", 504


class StoreFull(ProblemError):
    """The store has no room; nothing changed."""

    slug, title, status = "store-full", "Store full", 507


class EncoderUnusable(ProblemError):
    """The server's encoder cannot be loaded, or makes no usable vectors; nothing changed, and another try will not
    help."""

    slug, title, status = "encoder-unusable", "Encoder unusable", 500


class InternalError(ProblemError):
    """A defect of the service; its log has the trace under the request's id."""

    slug, title, status = "internal-error", "Internal error", 500


PROBLEMS: dict[str, type[ProblemError]] = {
    cls.slug: cls
    for cls in (
        InvalidRequest, MalformedBody, Unauthorized, Forbidden, UnknownRun, UnknownCheckpoint, UnknownPrompt,
        UnknownRoute, WrongMethod, TooSlow, Conflict, TooLarge, UnsupportedMedia, Overloaded, Unavailable,
        DeadlineExceeded, StoreFull, EncoderUnusable, InternalError,
    )
}  # fmt: skip
"""Every problem class by its slug, the last part of `type`."""


def from_document(document: dict[str, Any], retry_after: int | None = None) -> ProblemError:
    """The error that a problem document describes; the inverse of `ProblemError.document`.

    Raises:
        BadResponse: the document's `type` is not one of memr's.
    """
    slug = str(document.get("type", "")).removeprefix(TYPE_PREFIX)
    if slug not in PROBLEMS:
        raise BadResponse(f"a problem of type {document.get('type')!r} is not from memr: is the address right?")
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
