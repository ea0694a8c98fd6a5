"""What is told of runs, and what is done with them: checkpoints, restore, fork."""

from __future__ import annotations

from typing import Any

from memr_client.schemas.config import RunConfig
from memr_client.schemas.reward import MemorySizes
from memr_client.schemas.wire import Count, Name, ResponseModel, Wire


class WindowState(ResponseModel):
    """A component's sliding window."""

    count: int
    min: float | None
    max: float | None


class BarrierState(ResponseModel):
    """Who waits at a run's barrier here, and what went wrong since the server started; one of several keeps it."""

    waiting: int
    """Requests that wait for others now."""
    timeouts: int
    """Rounds or groups that were answered incomplete."""
    late: int
    """Parts or members that came after that and were answered alone."""


class RunInfo(ResponseModel):
    """`GET /runs/{id}`."""

    run_id: str
    config: RunConfig
    branch: int
    position: int
    chain: str
    digest: str | None = None
    """SHA-256 over memories, windows and counters, where asked for with `?digest=1`."""
    step: int | None
    """The step of the newest record that named one."""
    memory: MemorySizes
    windows: dict[str, WindowState]
    created_at: str
    encoder: dict[str, Any] | None
    """Fingerprint of the encoder the run is bound to."""
    dimension: int | None
    """d, fixed by the first committed request."""
    barrier: BarrierState | None = None
    """Null where the run has no barrier."""


class RunList(ResponseModel):
    """`GET /runs`."""

    runs: list[RunInfo]


class NewCheckpoint(Wire):
    """`POST /runs/{id}/checkpoints`."""

    name: Name
    step: Count | None = None
    """The trainer's step, for the record."""


class Checkpoint(ResponseModel):
    """A name for a position of a run's history."""

    name: str
    branch: int
    position: int
    step: int | None
    created_at: str


class CheckpointList(ResponseModel):
    """`GET /runs/{id}/checkpoints`, the oldest first."""

    checkpoints: list[Checkpoint]


class Restore(Wire):
    """`POST /runs/{id}/restore`."""

    checkpoint: Name


class Fork(Wire):
    """`POST /runs/{id}/fork`: copy the run under another name, as it was at the checkpoint (null: as it is)."""

    run_id: Name
    checkpoint: Name | None = None
