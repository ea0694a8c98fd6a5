"""How near the prompts are that an item would read, computed from a run's records."""

from __future__ import annotations

import numpy as np
from memr_client.schemas import RunConfig

from memr_service.insight.calibration.histogram import Histogram
from memr_service.rewards.staging import sides
from memr_service.state.record import Batch

PROMPT_BYTES = 64 << 20
"""Memory for prompts' embeddings. When it is full (44,000 prompts at d = 384) no more records are counted."""
PAIRED = 1024
"""The first PAIRED distinct prompts are all compared with each other."""
STEP = 0.001


class Neighbours:
    """The prompts of a run's two memories, and how similar the nearest one was at each read.

    Simplification: a prompt that left a full memory counts as still stored.
    """

    def __init__(self, config: RunConfig) -> None:
        self.pairs = Histogram(STEP, ceiling=True)
        """Cosines of two different prompts, all counted on the wrong side."""
        self.nearest = {"exploit": Histogram(STEP), "explore": Histogram(STEP)}
        """Component -> cosine of the nearest prompt that an item reads for it, 1 where it reads its own."""
        self._config = config
        self._row: dict[bytes, int] = {}
        self._full = False
        self._prompts = np.empty((0, 1), np.float32)
        self._stored = np.zeros((2, 0), np.int64)  # completions ever stored under each prompt: successes, failures

    def add(self, batch: Batch) -> None:
        """Count a record's reads and writes, in the order that the run's config names (L9); none of masked items."""
        if self._full or not len(batch):
            return
        rows = self._rows(batch)
        if rows is None:
            self._full = True
            return
        right = batch.outcomes > self._config.success_threshold
        known = batch.unmasked
        similar = batch.prompts @ self._prompts[: len(self._row)].T  # (u, prompts)
        hold = self._config.order == "hold_one_out"
        for histogram, stored, written in zip(
            self.nearest.values(), self._stored, sides(self._config, batch.outcomes), strict=True
        ):
            added = np.bincount(rows[written & known], minlength=len(stored))
            if hold:
                stored += added
            # One entry is held out for each item of a prompt under which the request stored something.
            own = (stored - (added > 0) * hold)[rows] > 0
            nearest = np.where(own, 1.0, self._others(similar, stored, rows, batch.prompt_of))
            histogram.add(nearest[known], right[known])
            if not hold:
                stored += added

    def _others(self, similar: np.ndarray, stored: np.ndarray, rows: np.ndarray, prompt_of: np.ndarray) -> np.ndarray:
        """Cosine (n,) to the nearest stored prompt other than the item's own; NaN if the run would read none."""
        cosines = np.where(stored[: similar.shape[1]] > 0, similar, -np.inf)[prompt_of]
        cosines[np.arange(len(rows)), rows] = -np.inf
        nearest = cosines.max(axis=1).astype(np.float64)
        least = self._config.min_similarity
        return np.where(nearest < (-1.1 if least is None else least), np.nan, nearest)

    def _rows(self, batch: Batch) -> np.ndarray | None:
        """Row of each item's prompt in `_prompts` (n,); None if there is no room for all of them."""
        new: dict[bytes, int] = {}
        for key, prompt in zip(batch.keys, batch.prompt_of.tolist(), strict=True):
            if key not in self._row:
                new.setdefault(key, prompt)
        if (len(self._row) + len(new)) * batch.dimension * 4 > PROMPT_BYTES:
            return None
        for key, prompt in new.items():
            self._append(key, batch.prompts[prompt])
        return np.array([self._row[key] for key in batch.keys], np.int64)

    def _append(self, key: bytes, prompt: np.ndarray) -> None:
        count = len(self._row)
        if count == len(self._prompts):
            more = max(64, count)
            prompts, self._prompts = self._prompts, np.empty((count + more, len(prompt)), np.float32)
            self._prompts[:count] = prompts
            self._stored = np.pad(self._stored, ((0, 0), (0, more)))
        if count < PAIRED:
            cosines = (self._prompts[:count] @ prompt).astype(np.float64)
            self.pairs.add(cosines, np.zeros(count, bool))
        self._prompts[count] = prompt
        self._row[key] = count
