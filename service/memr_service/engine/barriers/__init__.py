"""Barriers (L11): requests that belong together wait for each other and become one batch."""

from __future__ import annotations

from collections.abc import Iterable

from memr_client.schemas import RunConfig

from memr_service.engine.barriers.base import Barrier, Item, Respond, merged, rows_of, texts_of
from memr_service.engine.barriers.group import GroupBarrier
from memr_service.engine.barriers.lease import BarrierLease, HeldElsewhere
from memr_service.engine.barriers.member import Member
from memr_service.engine.barriers.rolling import Expire, RollingBarrier
from memr_service.engine.barriers.room import WaitingRoom
from memr_service.engine.barriers.step import StepBarrier

__all__ = [
    "Barrier",
    "BarrierLease",
    "HeldElsewhere",
    "Item",
    "Member",
    "WaitingRoom",
    "merged",
    "new_barrier",
    "rows_of",
    "texts_of",
]


def new_barrier(
    config: RunConfig, respond: Respond, expire: Expire, still_open: Iterable[bytes], room: WaitingRoom
) -> Barrier:
    """The barrier that a run's config asks for, which is not `none`.

    Args:
        respond: scores and commits requests as one batch, and sets their responses.
        expire: writes groups that have timed out with the items that they have.
        still_open: groups that were open when the run was read (`snapshot`).
        room: where its requests wait.
    """
    if config.barrier == "step":
        return StepBarrier(respond, config.barrier_timeout_s, room)
    if config.barrier == "group":
        assert config.group_size is not None
        return GroupBarrier(respond, config.barrier_timeout_s, room, config.group_size)
    return RollingBarrier(respond, config.barrier_timeout_s, room, expire, still_open)
