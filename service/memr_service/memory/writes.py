"""What one record writes to one memory."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Write = tuple[int, int, bool, bool]
"""(item, prompt, drops_prompt, drops_entry) of one write, as in `Writes`."""


@dataclass(frozen=True)
class Writes:
    """What one record wrote to one memory, in item order (columns of equal length).

    `item`: which completion of the record. `prompt`: number of the prompt it went under; the number of prompts ever
    stored means a new one. `drops_prompt`: the oldest prompt left first. `drops_entry`: the prompt's oldest completion
    left afterwards.
    """

    item: np.ndarray
    prompt: np.ndarray
    drops_prompt: np.ndarray
    drops_entry: np.ndarray

    @classmethod
    def of(cls, writes: list[Write]) -> Writes:
        """Turn single writes into columns."""
        columns = np.array(writes, np.int64).reshape(-1, 4)
        return cls(columns[:, 0].astype("<i4"), columns[:, 1].astype("<i8"), columns[:, 2] > 0, columns[:, 3] > 0)


@dataclass(frozen=True)
class CuratedWrites(Writes):
    """What one record wrote to a curated memory, and what left that memory.

    An entry is a row of the memory where >= 0, else ~item of the record. `step`: when it was written. `expired`: rows
    whose entries left for their age, before anything was written. For each write, `into`: the entry that stands for the
    completion, `~item` where it became an entry itself; `left_prompt`: number of the prompt that left for it, -1 for
    none; `left_entry`: where `drops_entry`, the entry that left.
    """

    step: int
    expired: np.ndarray
    into: np.ndarray
    left_prompt: np.ndarray
    left_entry: np.ndarray

    @property
    def merged(self) -> int:
        """How many completions raised a count and were not stored."""
        return int(np.count_nonzero(self.into != ~self.item))
