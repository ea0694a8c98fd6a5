"""Runs and what can be done with them: describe, checkpoint, restore, fork."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from memr_client.schemas.config import RunConfig
from memr_client.schemas.reward import MemorySizes
from memr_client.schemas.wire import Count, Name, ResponseModel, Wire


class WindowState(ResponseModel):
    """A component's sliding window."""

    count: int
    min: float | None
    max: float | None


class BarrierState(ResponseModel):
    """What happens at a run's barrier. Counts start with the server; among replicas, the one that holds the barrier
    reports them."""

    waiting: int
    """Requests that wait for others of their step or group now."""
    timeouts: int
    """Steps or groups that were scored incomplete after `barrier_timeout_s`."""
    late: int
    """Requests that came after that time-out and were scored alone."""


class Recent(ResponseModel):
    """A run's newest steps, up to 24, oldest first."""

    at: str
    """When the last completions came (UTC, ISO 8601)."""
    outcome: list[float]
    """Mean outcome of each step."""
    reward: list[float]
    """Mean reward of each step."""


class RunInfo(ResponseModel):
    """`GET /runs/{id}`."""

    run_id: str
    config: RunConfig
    """The defaults, if the config of a damaged run cannot be read."""
    branch: int
    position: int
    chain: str
    digest: str | None = None
    """SHA-256 over memories, windows and counters; only with `?digest=1`."""
    step: int | None
    """The newest step that a request named."""
    memory: MemorySizes
    windows: dict[str, WindowState]
    """Empty in `GET /runs` for a run that is not in memory."""
    created_at: str
    encoder: dict[str, Any] | None
    """Fingerprint of the encoder that the run is bound to."""
    dimension: int | None
    """d, fixed by the run's first request."""
    barrier: BarrierState | None = None
    """Null where the run has no barrier."""
    warnings: list[str] = Field(default_factory=list)
    """What the run's creator should know: what its config does not have of its preset, times that clash, and in the
    response of `PUT` that the run existed without records and its config was replaced."""
    damaged: str | None = None
    """In `GET /runs`: why the run could not be opened or its last record not be read. Such a run can be exported and
    deleted. Null if no fault is known."""
    recent: Recent | None = None
    """In `GET /runs?recent=true`: the run's newest steps; null without completions."""
    alarms: int | None = None
    """In `GET /runs?recent=true`: how many of the run's audits alarmed when they were made last; null for a run
    that was not audited yet, or is not in memory."""


class RunList(ResponseModel):
    """`GET /runs`: what is stored about each run. No run is opened for it."""

    runs: list[RunInfo]


class NewCheckpoint(Wire):
    """`POST /runs/{id}/checkpoints`."""

    name: Name
    step: Count | None = None
    """The trainer's step; stored, not interpreted."""


class Checkpoint(ResponseModel):
    """A name for a position in a run's history."""

    name: str
    branch: int
    position: int
    step: int | None
    created_at: str


class CheckpointList(ResponseModel):
    """`GET /runs/{id}/checkpoints`, oldest first."""

    checkpoints: list[Checkpoint]


class Restore(Wire):
    """`POST /runs/{id}/restore`."""

    checkpoint: Name


class Fork(Wire):
    """`POST /runs/{id}/fork`: copy the run under a new name."""

    run_id: Name
    checkpoint: Name | None = None
    """Copy the run as it was at this checkpoint; null: as it is now."""
