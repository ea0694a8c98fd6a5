"""This process's rank among the trainer's processes."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

T = TypeVar("T")


class Rank(NamedTuple):
    """A process's rank (`part`) and the world size (`parts`)."""

    part: int
    parts: int


def this_rank() -> Rank:
    """Rank and world size, from torch's process group or, before it exists, from the launcher's environment."""
    if (group := _process_group()) is not None:
        return Rank(group.get_rank(), group.get_world_size())
    return Rank(int(os.environ.get("RANK") or "0"), int(os.environ.get("WORLD_SIZE") or "1"))


def wait_for_all() -> None:
    """Wait until every rank has called this."""
    if (group := _process_group()) is not None:
        group.barrier()


def of_first_rank(make: Callable[[], T]) -> T:
    """What rank 0 makes, on every rank. All ranks call this."""
    if (group := _process_group()) is None:
        return make()
    made = [make() if group.get_rank() == 0 else None]
    group.broadcast_object_list(made, src=0)
    value: Any = made[0]
    return value  # type: ignore[no-any-return]


def _process_group() -> Any:
    # Not imported: if torch is not loaded, there is no process group.
    group = sys.modules.get("torch.distributed")
    return group if group is not None and group.is_available() and group.is_initialized() else None
