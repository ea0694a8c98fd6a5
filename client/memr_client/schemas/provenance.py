"""`GET /runs/{id}/provenance`: what a paper must cite."""

from __future__ import annotations

from typing import Any

from memr_client.schemas.config import RunConfig
from memr_client.schemas.wire import ResponseModel


class Provenance(ResponseModel):
    """`GET /runs/{id}/provenance`: what a paper must cite."""

    run_id: str
    memr: str
    law: int
    config: RunConfig
    config_sha256: str
    """Of the config as JSON with sorted keys."""
    encoder: dict[str, Any] | None
    dimension: int | None
    created_at: str
    branch: int
    position: int
    step: int | None
    completions: int
    """Taken since the run began."""
    chain: str
    versions: dict[str, str]
