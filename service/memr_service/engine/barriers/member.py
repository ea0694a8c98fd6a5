"""One request at a barrier."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from memr_service.engine.inputs import Items
from memr_service.run.response import Response
from memr_service.run.run import Submission
from memr_service.state.record import Batch

OVERHEAD = 4096
"""Bytes of a request without texts and embeddings."""
PER_NUMBER = 40
"""Bytes of a number in a list."""


@dataclass(eq=False)
class Member:
    """One request at a barrier: its completions, their batch, the whole texts of its rows, its response to come.

    A row is a completion, or where the run's unit is the turn, one of its turns.
    """

    items: Items
    batch: Batch
    completions: list[str]
    submission: Submission
    response: asyncio.Future[Response] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    callers: int = 0
    """How many callers wait for the response: a retry waits for that of the first request."""

    @cached_property
    def completion_of(self) -> list[int]:
        """Number of the completion of each row of the batch."""
        of: list[int] = self.batch.completion_of.tolist()
        return of

    @cached_property
    def _rows(self) -> list[list[int]]:
        rows: list[list[int]] = [[] for _ in range(len(self.items))]
        for row, completion in enumerate(self.completion_of):
            rows[completion].append(row)
        return rows

    def rows(self, completion: int) -> list[int]:
        """The rows of a completion in the batch."""
        return self._rows[completion]

    @cached_property
    def size(self) -> int:
        """About how many bytes it holds: its texts, also as they were sent, and its embeddings."""
        texts = {id(text): text for text in (*self.items.prompts, *self.completions)}
        size = OVERHEAD + 2 * sum(map(sys.getsizeof, texts.values()))
        size += sum(column.nbytes for column in vars(self.batch).values() if isinstance(column, np.ndarray))
        sent = self.items.request.embeddings
        if self.items.sent is not None and sent is not None:
            size += sum(array.nbytes for array in self.items.sent.raw)
            if isinstance(sent.completions, list):
                size += PER_NUMBER * sum(array.size for array in self.items.sent.raw)
        return size
