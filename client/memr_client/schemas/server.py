"""The server's version, and the problem document that every error response carries."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

from memr_client.schemas.wire import ResponseModel


class Version(ResponseModel):
    """`GET /version`."""

    version: str
    law: int
    """Version of the reward's semantics. A run keeps the one it was created under."""
    encoder: dict[str, Any] | None
    """Fingerprint of the default encoder; null until the encoder is loaded."""
    versions: dict[str, str]
    """Versions of Python and of the libraries that compute a reward, by name."""


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
