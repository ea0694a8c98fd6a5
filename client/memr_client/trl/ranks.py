"""This process's rank among the trainer's processes."""

from __future__ import annotations

import os
import sys
from typing import Any, NamedTuple


class Rank(NamedTuple):
    """A process's rank (`part`) and the world size (`parts`)."""

    part: int
    parts: int


def this_rank() -> Rank:
    """Rank and world size, from torch's process group or, before it exists, from the launcher's environment."""
    if (group := _process_group()) is not None:
        return Rank(group.get_rank(), group.get_world_size())
    return Rank(int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1")))


def wait_for_all() -> None:
    """Wait until every rank has called this."""
    if (group := _process_group()) is not None:
        group.barrier()


def _process_group() -> Any:
    # Not imported: if torch is not loaded, there is no process group.
    group = sys.modules.get("torch.distributed")
    return group if group is not None and group.is_available() and group.is_initialized() else None
