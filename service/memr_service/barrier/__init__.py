"""Requests that belong together wait for each other here and become one batch (L11)."""

from __future__ import annotations

from memr_client.schemas import RunConfig

from memr_service.barrier.base import Barrier, Member, Seat, Settle, merged
from memr_service.barrier.group import GroupBarrier
from memr_service.barrier.step import StepBarrier

__all__ = ["Barrier", "Member", "Seat", "merged", "new_barrier"]


def new_barrier(config: RunConfig, settle: Settle) -> Barrier | None:
    """The barrier a run's config asks for; None where each request stands alone."""
    if config.barrier == "step":
        return StepBarrier(settle, config.barrier_timeout_s)
    if config.barrier == "group":
        assert config.group_size is not None
        return GroupBarrier(settle, config.barrier_timeout_s, config.group_size)
    return None
