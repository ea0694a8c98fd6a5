"""Requests that belong together wait for each other here and become one batch (L11)."""

from __future__ import annotations

from collections.abc import Iterable

from memr_client.schemas import RunConfig

from memr_service.engine.barriers.base import Barrier, Item, Member, Settle, merged, texts_of
from memr_service.engine.barriers.group import GroupBarrier
from memr_service.engine.barriers.lease import BarrierLease, HeldElsewhere
from memr_service.engine.barriers.rolling import Expire, RollingBarrier
from memr_service.engine.barriers.step import StepBarrier

__all__ = ["Barrier", "BarrierLease", "HeldElsewhere", "Item", "Member", "merged", "new_barrier", "texts_of"]


def new_barrier(config: RunConfig, settle: Settle, expire: Expire, still_open: Iterable[bytes]) -> Barrier:
    """The barrier a run's config asks for, which is not `none`.

    Args:
        settle: scores, commits and answers requests as one.
        expire: writes what there is of groups whose time is up.
        still_open: groups that were open when the run was read (`snapshot`).
    """
    if config.barrier == "step":
        return StepBarrier(settle, config.barrier_timeout_s)
    if config.barrier == "group":
        assert config.group_size is not None
        return GroupBarrier(settle, config.barrier_timeout_s, config.group_size)
    return RollingBarrier(settle, config.barrier_timeout_s, expire, still_open)
