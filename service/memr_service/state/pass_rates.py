"""Pass rates: how often each prompt's completions were right, now and as of each of the last records."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any

import numpy as np

from memr_service.state.record import Batch

KEY_BYTES = 16
TEXT_BYTES = 32

MOST_PROMPTS = 1_000_000
"""Most prompts with a pass rate. Beyond it, the prompt that was visited longest ago is forgotten."""
KEPT = 64
"""The pass rates are known as of each of so many last records."""
RECENT = 4
"""How many last visits of a prompt are kept with their step."""
EARLY = 2
"""Of so many first visits of a prompt the counts are also kept as they were."""
Groups = tuple[list[bytes], np.ndarray, np.ndarray]
"""The k distinct of some keys, the number of each item's key (n,), and the first item of each (k,)."""
NO_STEP = -1
NO_TEXT = bytes(TEXT_BYTES)
"""In place of the SHA-256 of a text that is not known."""

ROW = np.dtype(
    [
        ("key", "u1", KEY_BYTES),
        ("text", "u1", TEXT_BYTES),
        ("right", "<f8"),
        ("wrong", "<f8"),
        ("first_right", "<i4"),
        ("first_wrong", "<i4"),
        ("visits", "<i4"),
        ("size", "<i4"),
        ("recent", "<i8", RECENT),
    ]
)
"""What is known of one prompt.

`key`: its identity (L3). `text`: SHA-256 of its whole text; zeros if that is not known. `right`, `wrong`: completions
with an outcome above `success_threshold` and others, those before the newest visit halved at each visit. `first_right`,
`first_wrong`: the same of its first visits, not halved. `size`: completions of the newest visit. `recent`: steps of
the last visits, the newest first.
"""


EMPTY = np.zeros((), ROW)
"""The row of a prompt of which nothing is known."""
EMPTY["recent"] = NO_STEP


@dataclass(frozen=True)
class Change:
    """What one record changed: the keys, and their rows before it. A prompt that was not there has an empty row."""

    position: int
    before: np.ndarray


class PassRates:
    """Discounted counts of right and wrong completions for each prompt.

    A visit is all completions of a prompt with one step. Without steps, it is `group_size` completions of the prompt in
    a row, or all of its completions in one record.
    """

    def __init__(self, threshold: float, group_size: int | None) -> None:
        self._threshold = threshold
        self._group_size = group_size
        self._rows: dict[bytes, int] = {}  # in the order of the last visits, the oldest first
        self._earlier: dict[bytes, bytes] = {}  # key -> text, of prompts that only earlier runs have visited
        self._by_text: dict[bytes, bytes] = {}  # text -> key, of the same
        self._free: list[int] = []
        self._changes: deque[Change] = deque(maxlen=KEPT)
        self._moved: list[np.ndarray] = []  # rows that the record being counted has dropped or given another key
        self._old = np.zeros(0, ROW)  # the rows of its prompts before it
        self._just_renamed: list[int] = []  # of those, rows that had another key
        self._grouped: tuple[Sequence[bytes], Groups] = [], _grouped([])  # the last keys, and their groups
        self.table = np.zeros(0, ROW)
        self.moves = 0
        """How often a row went from one prompt to another, so that a list of rows made before has to be made again."""
        self.mismatched = 0
        """Prompts of earlier runs whose id is in use here with another text."""

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def used(self) -> np.ndarray:
        """The rows of the table that are, or were, in use."""
        return self.table[: len(self._rows) + len(self._free)]

    def row(self, key: bytes) -> int | None:
        """A prompt's row of the table; None if nothing is known of it."""
        return self._rows.get(key)

    def shares(self, keys: Sequence[bytes], texts: np.ndarray | None = None) -> np.ndarray:
        """Share of right completions of each prompt (n,); NaN where none is known.

        Args:
            texts: SHA-256 of each prompt's whole text (n, 32), for prompts that earlier runs knew by another id.
        """
        distinct, of, first = self._groups(keys)
        rows = np.array([self._rows.get(key, -1) for key in distinct], np.int64)
        if texts is not None and self._by_text:
            for number in np.flatnonzero(rows < 0):
                other = self._by_text.get(texts[first[number]].tobytes(), b"")
                rows[number] = self._rows.get(other, -1)
        shares, known = np.full(len(distinct), np.nan), rows >= 0
        right, wrong = (self.table[name][rows[known]] for name in ("right", "wrong"))
        with np.errstate(invalid="ignore"):  # 0 of 0 is NaN
            shares[known] = right / (right + wrong)
        return np.asarray(shares[of])

    def _groups(self, keys: Sequence[bytes]) -> Groups:
        """The groups of keys: those of a request are asked for twice, before it is counted and when it is."""
        if keys is not self._grouped[0]:
            self._grouped = keys, _grouped(keys)
        return self._grouped[1]

    # Changes

    def follow(self, batch: Batch, position: int) -> None:
        """Do what the record at `position` of a journal says; without steps, its position is kept as the step.

        In records of runs that have no pass rates, prompts are known by their identities only.
        """
        if batch.prior is not None:
            self.start_from(**batch.prior)
        if batch.forget is not None:
            self.forget(**batch.forget)
        if len(batch):
            texts = np.zeros((len(batch), TEXT_BYTES), np.uint8) if batch.texts is None else batch.texts
            self.count_batch(batch, texts, position)
        self.end_record(position)

    def start_from(self, keys: np.ndarray, texts: np.ndarray, right: np.ndarray, wrong: np.ndarray) -> None:
        """Take over what earlier runs know, where nothing is known yet.

        Args:
            keys, texts: (n, 16) and (n, 32) bytes. right, wrong: counts (n,).
        """
        start = max(len(keys) - MOST_PROMPTS, 0)  # more are not kept, so the first of them are forgotten
        self.table = np.full(len(keys) - start, EMPTY, ROW)
        for name, values in (("key", keys), ("text", texts), ("right", right), ("wrong", wrong)):
            self.table[name] = values[start:]
        self._rows = {key: row for row, key in enumerate(_each(self.table["key"]))}
        self._free, self.moves = [], self.moves + 1
        self._list_earlier()

    def start(self) -> dict[str, np.ndarray]:
        """The arguments of `start_from` that make these pass rates, where nothing was visited."""
        rows = self._in_order()
        return {"keys": rows["key"], "texts": rows["text"], "right": rows["right"], "wrong": rows["wrong"]}

    def count_batch(self, batch: Batch, texts: np.ndarray, now: int) -> None:
        """Count the completions of a batch (`Batch.counted`). Call `end_record` after it.

        Args:
            texts, now: see `count`.
        """
        items = batch.counted
        if items is None:
            self.count(batch.keys, batch.outcomes, texts, batch.step, now)
        elif len(items):
            keys = [batch.keys[item] for item in items.tolist()]
            self.count(keys, batch.outcomes[items], texts[items], batch.step, now)

    def count(self, keys: Sequence[bytes], outcomes: np.ndarray, texts: np.ndarray, step: int | None, now: int) -> None:
        """Count the completions of a record. Call `end_record` after it.

        Args:
            keys: identity of each item's prompt (n). outcomes: (n,). texts: SHA-256 of each prompt's whole text
                (n, 32).
            step: the record's step; None if it names none.
            now: the step under which a visit is kept if the record names none.
        """
        distinct, of, first = self._groups(keys)
        texts = texts[first]
        rows = np.array([self._visited(key, texts[number]) for number, key in enumerate(distinct)], np.int64)
        self.table["key"][rows] = np.frombuffer(b"".join(distinct), np.uint8).reshape(-1, KEY_BYTES)
        self._old = self.table[rows]
        for number in self._just_renamed:
            self._old[rows == number] = EMPTY
        self._old["key"] = self.table["key"][rows]
        self._just_renamed = []
        self.table["text"][rows] = texts
        right = outcomes > self._threshold
        if step is not None:
            goes_on = (self.table["visits"][rows] > 0) & (self.table["recent"][rows, 0] == step)
            self._visit(rows, *_tally(of, right, len(rows)), ~goes_on, step)
        elif self._group_size is None:
            self._visit(rows, *_tally(of, right, len(rows)), np.ones(len(rows), bool), now)
        else:
            self._in_a_row(rows, of, right, self._group_size, now)

    def _in_a_row(self, rows: np.ndarray, of: np.ndarray, right: np.ndarray, size: int, now: int) -> None:
        """Count completions without a step: `size` of them fill a visit."""
        had = np.where(self.table["visits"][rows] > 0, np.minimum(self.table["size"][rows], size), size)
        order = np.argsort(of, kind="stable")
        starts = np.searchsorted(of[order], np.arange(len(rows)))
        visit = np.empty(len(of), np.int64)  # 0: the visit that is open; the others begin here
        visit[order] = (np.arange(len(of)) - starts[of[order]] + had[of[order]]) // size
        for number in np.unique(visit).tolist():
            inside = visit == number
            present = np.unique(of[inside])
            good, bad = _tally(of[inside], right[inside], len(rows))
            self._visit(rows[present], good[present], bad[present], np.full(len(present), number > 0), now)

    def _visit(self, rows: np.ndarray, right: np.ndarray, wrong: np.ndarray, begins: np.ndarray, step: int) -> None:
        """Add counts to rows; where a visit begins, halve what was there before."""
        new = self.table[rows]
        kept = np.where(begins, 0.5, 1.0)
        new["right"] = new["right"] * kept + right
        new["wrong"] = new["wrong"] * kept + wrong
        new["visits"] += begins
        new["size"] = np.where(begins, 0, new["size"]) + right + wrong
        new["recent"][begins, 1:] = new["recent"][begins, :-1]
        new["recent"][begins, 0] = step
        early = new["visits"] <= EARLY
        new["first_right"] += (right * early).astype(np.int32)
        new["first_wrong"] += (wrong * early).astype(np.int32)
        self.table[rows] = new

    def forget(self, keys: np.ndarray) -> None:
        """Forget prompts (k, 16), as if nothing had ever been known of them. Call `end_record` after it."""
        for key in keys:
            if key.tobytes() in self._rows:
                self._drop(key.tobytes())

    def end_record(self, position: int) -> None:
        """Keep what the record at this position has changed, so that the pass rates before it stay known."""
        self._changes.append(Change(position, np.concatenate([self._old, *self._moved])))
        self._old, self._moved = np.zeros(0, ROW), []

    def _visited(self, key: bytes, text: np.ndarray) -> int:
        """The row of a prompt that is visited now, which becomes the last in the order of visits."""
        row = self._rows.pop(key, None)
        if row is None and self._by_text and (other := self._by_text.get(text.tobytes())) is not None:
            row = self._renamed(other)
        elif row is not None and key in self._earlier:
            row = self._of_earlier_run(key, row, text)
        if row is None:
            return self._new(key)
        self._rows[key] = row
        return row

    def _of_earlier_run(self, key: bytes, row: int, text: np.ndarray) -> int | None:
        """The row of a prompt that only earlier runs have visited; None if theirs is another prompt of that id."""
        theirs = self._earlier.pop(key)
        self._by_text.pop(theirs, None)
        if not any(theirs) or not text.any() or theirs == text.tobytes():
            return row
        self.mismatched += 1
        self._empty(row)
        return None

    def _renamed(self, other: bytes) -> int:
        """The row of a prompt that earlier runs knew by another id."""
        row = self._rows.pop(other)
        self._moved.append(self.table[[row]])
        self._just_renamed.append(row)
        del self._by_text[self._earlier.pop(other)]
        self.moves += 1
        return row

    def _new(self, key: bytes) -> int:
        if len(self._rows) >= MOST_PROMPTS:
            self._drop(next(iter(self._rows)))
        if self._free:
            row = self._free.pop()
            self.moves += 1
        else:
            row = len(self._rows)
            if row == len(self.table):
                self.table = np.concatenate([self.table, np.zeros(max(64, row), ROW)])
        self._rows[key] = row
        self.table["recent"][row] = NO_STEP
        return row

    def _drop(self, key: bytes) -> None:
        self._by_text.pop(self._earlier.pop(key, b""), None)
        self._empty(self._rows.pop(key))

    def _empty(self, row: int) -> None:
        """Take what is known of a prompt out of the table."""
        self._moved.append(self.table[[row]])
        self.table[row] = EMPTY
        self._free.append(row)
        self.moves += 1

    def _list_earlier(self) -> None:
        unvisited = self.used[self.used["visits"] == 0]
        self._earlier = dict(zip(_each(unvisited["key"]), _each(unvisited["text"]), strict=True))
        self._by_text = {text: key for key, text in self._earlier.items() if text != NO_TEXT}

    # As of an earlier record

    @property
    def position(self) -> int:
        """Position of the newest record; 0 before any."""
        return self._changes[-1].position if self._changes else 0

    def reaches(self, position: int) -> bool:
        """Whether the pass rates after the record at `position` are still known; it is not after the newest record."""
        return len(self._changes) < KEPT or position >= self._changes[0].position - 1

    def before(self, position: int) -> Mapping[bytes, np.ndarray]:
        """Key -> row as it was after the record at `position`, for all prompts that have changed since."""
        found: dict[bytes, np.ndarray] = {}
        for change in reversed(self._changes):
            if change.position <= position:
                break
            found.update((row["key"].tobytes(), row) for row in change.before)
        return found

    def visits(self, upto: int, most: int) -> tuple[np.ndarray, np.ndarray]:
        """The rows of prompts before and after the newest visits (v,) that the changes kept tell, the newest first.

        Args:
            upto: no visits of records after this position. most: at most so many.
        """
        later: dict[bytes, Any] = {}
        earlier_rows, later_rows = [], []
        for change in reversed(self._changes):
            for before in change.before:
                key = before["key"].tobytes()
                row = self._rows.get(key)
                after = later.get(key, EMPTY[()] if row is None else self.table[row])
                later[key] = before
                if change.position > upto:
                    continue
                if after["visits"] == before["visits"]:
                    later[key] = after  # an earlier record began this visit
                elif after["visits"] == before["visits"] + 1:
                    earlier_rows.append(before)
                    later_rows.append(after)
            if len(later_rows) >= most:
                break
        return np.array(earlier_rows[:most], ROW), np.array(later_rows[:most], ROW)

    # Whole

    def copied(self) -> PassRates:
        """A copy that another thread may read while these go on."""
        found = copy(self)
        found.table, found._rows, found._free = self.table.copy(), self._rows.copy(), self._free.copy()
        found._changes = self._changes.copy()
        return found

    def freeze(self) -> dict[str, np.ndarray]:
        """Everything as named arrays."""
        changes = [*self._changes]
        before = np.concatenate([np.zeros(0, ROW), *(change.before for change in changes)])
        return {
            "rows": _bytes(self._in_order()),
            "before": _bytes(before),
            "changes": np.array([(one.position, len(one.before)) for one in changes], np.int64).reshape(-1, 2),
            "mismatched": np.array([self.mismatched], np.int64),
        }

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Become what `freeze` saw."""
        self.table = arrays["rows"].view(ROW).copy()
        self._rows = {key: number for number, key in enumerate(_each(self.table["key"]))}
        self._free, self.moves = [], self.moves + 1
        self._list_earlier()
        self.mismatched = int(arrays["mismatched"][0])
        before, start = arrays["before"].view(ROW).copy(), 0
        self._changes.clear()
        for position, length in arrays["changes"].tolist():
            self._changes.append(Change(position, before[start : start + length]))
            start += length

    def digest(self) -> bytes:
        """SHA-256 of the rows in the order of the last visits, the oldest first."""
        return hashlib.sha256(_bytes(self._in_order()).data).digest()

    def _in_order(self) -> np.ndarray:
        return self.table[[*self._rows.values()]]


def _grouped(keys: Sequence[bytes]) -> Groups:
    """The k distinct keys, the number of each item's key (n,), and the first item of each (k,).

    They are in the order of their last items, the last first: the order in which rows are made, which digests cover.
    """
    numbers = {key: number for number, key in enumerate(dict.fromkeys(reversed(keys)))}
    of = np.fromiter(map(numbers.__getitem__, keys), np.int64, len(keys))
    first = np.empty(len(numbers), np.int64)
    first[of[::-1]] = np.arange(len(keys) - 1, -1, -1)  # what is written last stays
    return [*numbers], of, first


def _tally(of: np.ndarray, right: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """How many right and wrong completions each of n prompts has."""
    good = np.bincount(of, right, minlength=n)
    return good, np.bincount(of, minlength=n) - good


def _each(rows: np.ndarray) -> list[bytes]:
    """Rows of bytes (n, width), each as one `bytes`."""
    whole, width = np.ascontiguousarray(rows).tobytes(), rows.shape[1]
    return [whole[start : start + width] for start in range(0, len(whole), width)]


def _bytes(rows: np.ndarray) -> np.ndarray:
    return np.frombuffer(np.ascontiguousarray(rows).tobytes(), np.uint8)
