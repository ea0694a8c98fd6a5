"""The prompts that a plan chooses from, and what the pass rates say of each, column by column."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from memr_service.state.pass_rates import NO_STEP, RECENT, ROW, PassRates
from memr_service.state.pool import Pool

ABSENT = -1


@dataclass(frozen=True)
class Columns:
    """What pass rates said of m candidates, and of all r prompts that they knew. The arrays are never changed.

    A row of the pass rates takes more than one line of the processor's cache, so a plan of a million prompts would wait
    for memory if it read them there.
    """

    right: np.ndarray
    wrong: np.ndarray
    visits: np.ndarray
    recent: np.ndarray
    """(m, RECENT), one column after the other."""
    all_right: np.ndarray
    all_wrong: np.ndarray
    all_newest: np.ndarray
    """The step of the newest visit (r,)."""

    @classmethod
    def empty(cls, m: int, r: int) -> Columns:
        """Nothing is known."""
        return cls(
            np.zeros(m), np.zeros(m), np.zeros(m, np.int32), np.full((RECENT, m), NO_STEP, np.int64).T,
            np.zeros(r), np.zeros(r), np.full(r, NO_STEP, np.int64),
        )  # fmt: skip

    def resized(self, r: int) -> Columns:
        """A copy that has room for r prompts."""
        kept, more = len(self.all_right), Columns.empty(0, r)
        for name in ("all_right", "all_wrong", "all_newest"):
            getattr(more, name)[:kept] = getattr(self, name)
        return Columns(
            self.right.copy(), self.wrong.copy(), self.visits.copy(), self.recent.T.copy().T,
            more.all_right, more.all_wrong, more.all_newest,
        )  # fmt: skip

    def put(self, numbers: np.ndarray, rows: np.ndarray) -> None:
        """Write rows of the pass rates (k,) at the candidates of these numbers, while the columns are being made."""
        for name in ("right", "wrong", "visits", "recent"):
            getattr(self, name)[numbers] = rows[name]

    def put_all(self, places: np.ndarray, rows: np.ndarray) -> None:
        """Write rows of the pass rates (k,) at these places among all prompts, while the columns are being made."""
        self.all_right[places], self.all_wrong[places] = rows["right"], rows["wrong"]
        self.all_newest[places] = rows["recent"][:, 0]


class Candidates:
    """A pool, searched by identity or text. What was found is kept, so a plan looks at changed rows only."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self._by_key = _Lookup(pool.keys)
        self._by_text = _Lookup(pool.texts) if len(pool.texts) else None
        self._rates: PassRates | None = None  # those that the rest is of
        self._moves = 0
        self._forget()

    def __len__(self) -> int:
        return len(self.pool)

    def _forget(self) -> None:
        self._rows = np.full(len(self.pool), ABSENT, np.int64)
        self._numbers = np.zeros(0, np.int64)  # of each row that was looked up, the candidate's number
        self._columns = Columns.empty(len(self.pool), 0)
        self._position = 0

    def rows(self, rates: PassRates) -> np.ndarray:
        """Each prompt's row in the pass rates' table, or ABSENT (m,)."""
        if self._rates is not rates or self._moves != rates.moves:
            self._forget()
            self._rates, self._moves = rates, rates.moves
        start = len(self._numbers)
        fresh = rates.used[start:]
        if len(fresh):
            numbers = self.find(fresh["key"], fresh["text"])
            self._numbers = np.concatenate([self._numbers, numbers])
            places = start + np.flatnonzero(numbers != ABSENT)
            named = self._share_identity(places, rates)
            self._rows[self._numbers[places[named]]] = places[named]
            others = places[~named]
            holders = self._rows[self._numbers[others]]
            free = (holders == ABSENT) | ~self._share_identity(
                holders, rates
            )  # a row by text gives way to the identity's
            self._rows[self._numbers[others[free]]] = others[free]
        return self._rows

    def columns(self, rates: PassRates) -> Columns:
        """What the pass rates say after their newest record."""
        self.rows(rates)
        known = len(self._columns.all_right)
        if not rates.reaches(self._position):
            known = 0
        changed = np.arange(known, len(self._numbers))
        if known:
            earlier = [rates.row(key) for key in rates.before(self._position)]
            changed = np.concatenate([np.array([row for row in earlier if row is not None], np.int64), changed])
        self._position = rates.position
        if len(changed):
            new = self._columns.resized(len(self._numbers))
            new.put_all(changed, rates.used[changed])
            mine = changed[self._are_candidates(changed)]
            new.put(self._numbers[mine], rates.used[mine])
            self._columns = new
        return self._columns

    def columns_after(self, rates: PassRates, position: int) -> Columns:
        """What the pass rates said after the record at `position`, which they reach."""
        now = self.columns(rates)
        changed = rates.before(position)
        if not changed:
            return now
        before = np.array([*changed.values()], ROW)
        places = np.array([ABSENT if (row := rates.row(key)) is None else row for key in changed], np.int64)
        kept, lost = np.flatnonzero(places != ABSENT), np.flatnonzero(places == ABSENT)
        then = now.resized(len(now.all_right) + len(lost))
        then.put_all(places[kept], before[kept])
        then.put_all(np.arange(len(now.all_right), len(then.all_right)), before[lost])
        mine = kept[self._are_candidates(places[kept])]
        then.put(self._numbers[places[mine]], before[mine])
        # Where the candidate's row is new since then, the candidate's was one of its text, or one that has left.
        new = self._numbers[places[mine[_is_empty(before[mine])]]]
        by_text = np.flatnonzero(np.isin(self._numbers, new)) if self._by_text is not None and len(new) else new[:0]
        by_text = by_text[self._rows[self._numbers[by_text]] != by_text]
        if len(by_text):
            were, changed_at = (
                rates.used[by_text].copy(),
                {place: number for number, place in enumerate(places.tolist())},
            )
            for number, place in enumerate(by_text.tolist()):
                if place in changed_at:
                    were[number] = before[changed_at[place]]
            then.put(self._numbers[by_text], were)
        numbers = self.find(before["key"], before["text"])
        gone = lost[numbers[lost] != ABSENT]
        gone = gone[then.visits[numbers[gone]] == 0]
        then.put(numbers[gone], before[gone])
        return then

    def _share_identity(self, rows: np.ndarray, rates: PassRates) -> np.ndarray:
        """Whether each row of the pass rates that was found has its candidate's identity, not only its text (k,)."""
        keys = self.pool.keys[self._numbers[rows]]
        return np.asarray((keys == rates.used["key"][rows]).all(axis=1))

    def _are_candidates(self, rows: np.ndarray) -> np.ndarray:
        """Whether each row of the pass rates is a candidate's (k,)."""
        numbers = self._numbers[rows]
        return np.asarray((numbers != ABSENT) & (self._rows[numbers] == rows))

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


def _is_empty(rows: np.ndarray) -> np.ndarray:
    """Whether nothing was known of each prompt (k,) bool."""
    return np.asarray((rows["visits"] == 0) & (rows["right"] + rows["wrong"] == 0))


def _heads(rows: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(rows[:, :8]).view("<u8")[:, 0]
