"""Which of the trainer's processes this is."""

from __future__ import annotations

import os
import sys
from typing import Any, NamedTuple


class Rank(NamedTuple):
    """This process among the trainer's: `part` of `parts`."""

    part: int
    parts: int


def this_rank() -> Rank:
    """This process's rank and the world size: the process group's, or the launcher's where there is none yet."""
    if (group := _process_group()) is not None:
        return Rank(group.get_rank(), group.get_world_size())
    return Rank(int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1")))


def wait_for_all() -> None:
    """Return when every rank is here."""
    if (group := _process_group()) is not None:
        group.barrier()


def _process_group() -> Any:
    # Looked up and not imported: where torch is not loaded, no process group was begun.
    group = sys.modules.get("torch.distributed")
    return group if group is not None and group.is_available() and group.is_initialized() else None
