"""What the server says of itself, and of what went wrong."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

from memr_client.schemas.wire import ResponseModel


class Version(ResponseModel):
    """`GET /version`."""

    version: str
    law: int
    """Version of the semantics; a run keeps the one it was created under."""
    encoder: dict[str, Any] | None
    """The default encoder's fingerprint, once it is known."""
    versions: dict[str, str]
    """Python and the libraries that take part in a reward."""


class Problem(BaseModel):
    """An RFC 9457 problem document."""

    model_config = ConfigDict(extra="allow")

    type: str
    title: str
    status: int
    detail: str
    value: Any = None
    limit: Any = None
    remedy: str | None = None
    request_id: str | None = None
