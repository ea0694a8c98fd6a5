"""The prompts that a plan chooses from, and the row of the pass rates that each has."""

from __future__ import annotations

import numpy as np

from memr_service.state.pass_rates import PassRates
from memr_service.state.pool import Pool

ABSENT = -1


class Candidates:
    """A pool, searched by identity or text. Rows that were found are kept, so a plan looks up new ones only."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self._by_key = _Lookup(pool.keys)
        self._by_text = _Lookup(pool.texts) if len(pool.texts) else None
        self._rows = np.full(len(pool), ABSENT, np.int64)
        self._looked_up = 0
        self._moves = 0

    def __len__(self) -> int:
        return len(self.pool)

    def rows(self, rates: PassRates) -> np.ndarray:
        """Each prompt's row in the pass rates' table, or ABSENT (m,)."""
        if self._moves != rates.moves:
            self._rows[:] = ABSENT
            self._looked_up, self._moves = 0, rates.moves
        fresh = rates.used[self._looked_up :]
        numbers = self.find(fresh["key"], fresh["text"])
        found = np.flatnonzero(numbers != ABSENT)
        self._rows[numbers[found]] = self._looked_up + found
        self._looked_up += len(fresh)
        return self._rows

    def find(self, keys: np.ndarray, texts: np.ndarray) -> np.ndarray:
        """The number of each prompt in the pool, by identity (k, 16) or else by text (k, 32); ABSENT if it has none."""
        numbers = self._by_key.find(keys)
        if self._by_text is not None:
            missing = np.flatnonzero((numbers == ABSENT) & texts.any(axis=1))
            numbers[missing] = self._by_text.find(texts[missing])
        return numbers


class _Lookup:
    """Finds rows of bytes among others, by their first eight bytes in order."""

    def __init__(self, rows: np.ndarray) -> None:
        self._whole = rows
        self._order = np.argsort(_heads(rows), kind="stable")
        self._heads = _heads(rows)[self._order]

    def find(self, rows: np.ndarray) -> np.ndarray:
        if not len(rows) or not len(self._heads):
            return np.full(len(rows), ABSENT, np.int64)
        places = np.searchsorted(self._heads, _heads(rows)).clip(max=len(self._heads) - 1)
        numbers = self._order[places].astype(np.int64)
        return np.where((self._whole[numbers] == rows).all(axis=1), numbers, ABSENT)


def _heads(rows: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(rows[:, :8]).view("<u8")[:, 0]
