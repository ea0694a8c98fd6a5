"""How near the prompts are that an item would read, told from a run's records alone."""

from __future__ import annotations

import numpy as np
from memr_client.schemas import RunConfig

from memr_service.insight.calibration.histogram import Histogram
from memr_service.rewards.staging import sides
from memr_service.state.record import Batch

TABLE_BYTES = 64 << 20
"""Room for prompts' embeddings; beyond it (44,000 prompts at d = 384) neighbours are not looked for any more."""
PAIRED = 1024
"""Of so many distinct prompts each is compared with every other one."""
STEP = 0.001


class Neighbours:
    """The prompts a run has stored on either side, and the similarity of the nearest one at each read.

    What leaves a memory because it is full is taken to be there still.
    """

    def __init__(self, config: RunConfig) -> None:
        self.pairs = Histogram(STEP, ceiling=True)
        """Cosines between two different prompts (all of them counted as of wrong completions)."""
        self.nearest = {"exploit": Histogram(STEP), "explore": Histogram(STEP)}
        """Cosine of the nearest prompt that an item reads for the component, 1 where it reads its own."""
        self._config = config
        self._row: dict[bytes, int] = {}
        self._full = False
        self._prompts = np.empty((0, 1), np.float32)
        self._stored = np.zeros((2, 0), np.int64)  # completions ever stored under each prompt: successes, failures

    def add(self, batch: Batch) -> None:
        """Take a record's reads and writes into account, in the order of the run's config."""
        if self._full or not len(batch):
            return
        rows = self._rows(batch)
        if rows is None:
            self._full = True
            return
        right = batch.outcomes > self._config.success_threshold
        similar = batch.prompts @ self._prompts[: len(self._row)].T  # (u, prompts)
        hold = self._config.order == "hold_one_out"
        for tally, stored, written in zip(
            self.nearest.values(), self._stored, sides(self._config, batch.outcomes), strict=True
        ):
            came = np.bincount(rows[written], minlength=len(stored))
            if hold:
                stored += came
            # One entry is held out for every item of a prompt that the request stored something under.
            own = (stored - (came > 0) * hold)[rows] > 0
            tally.add(np.where(own, 1.0, self._others(similar, stored, rows, batch.prompt_of)), right)
            if not hold:
                stored += came

    def _others(self, similar: np.ndarray, stored: np.ndarray, rows: np.ndarray, prompt_of: np.ndarray) -> np.ndarray:
        """Cosine (n,) to the nearest stored prompt but the item's own, NaN for none that the run reads."""
        there = np.where(stored[: similar.shape[1]] > 0, similar, -np.inf)[prompt_of]
        there[np.arange(len(rows)), rows] = -np.inf
        nearest = there.max(axis=1).astype(np.float64)
        least = self._config.min_similarity
        return np.where(nearest < (-1.1 if least is None else least), np.nan, nearest)

    def _rows(self, batch: Batch) -> np.ndarray | None:
        """The place of each item's prompt in the table (n,), where there is room for all of them."""
        fresh: dict[bytes, int] = {}
        for key, prompt in zip(batch.keys, batch.prompt_of.tolist(), strict=True):
            if key not in self._row:
                fresh.setdefault(key, prompt)
        if (len(self._row) + len(fresh)) * batch.dimension * 4 > TABLE_BYTES:
            return None
        for key, prompt in fresh.items():
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
