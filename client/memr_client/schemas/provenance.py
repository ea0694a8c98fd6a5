"""`GET /runs/{id}/provenance`: what a paper must cite."""

from __future__ import annotations

from typing import Any

from memr_client.schemas.config import RunConfig
from memr_client.schemas.wire import ResponseModel


class Provenance(ResponseModel):
    """`GET /runs/{id}/provenance`: what a paper must cite to make a run reproducible."""

    run_id: str
    memr: str
    """memr's version."""
    law: int
    """Version of the reward's semantics."""
    config: RunConfig
    config_sha256: str
    """SHA-256 of the config, written as JSON with sorted keys."""
    encoder: dict[str, Any] | None
    dimension: int | None
    created_at: str
    branch: int
    position: int
    step: int | None
    completions: int
    """Completions scored since the run began."""
    chain: str
    """Running SHA-256 over the records' effects (hex)."""
    versions: dict[str, str]
    """Versions of Python and of the libraries that compute a reward, by name."""
