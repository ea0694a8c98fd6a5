"""A memory as it would be after a request's writes, without writing; and what its items read there (L4, L9)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby

import numpy as np

from memr_service.memory.cosine import pair_cosines, rowwise_cosines
from memr_service.memory.index import nearest
from memr_service.memory.memory import Memory, Write, Writes, in_grid, on_grid

_Plan = tuple[np.ndarray, int, int | None, int | None, np.ndarray]
"""Items, their embedding, their own prompt, the same where they read it, and the entry that each must not see."""


@dataclass(frozen=True)
class Reading:
    """What some items of a request read: all of them the same prompts.

    `items` (g,): which items. `prompts` (p,): numbers of the prompts, own first, then nearest first. `parts` (p,): the
    completions of each (m,), a row of the memory where >= 0, else ~item of the request. `held` (g,): place in the first
    part of the one completion the item must not see, -1 for none. `units`: how many completions each entry stands for,
    part after part; None where each stands for itself alone.
    """

    items: np.ndarray
    prompts: list[int]
    parts: list[np.ndarray]
    held: np.ndarray
    units: np.ndarray | None = None

    @cached_property
    def entries(self) -> np.ndarray:
        """The completions of all the prompts (m,), part after part."""
        return np.concatenate(self.parts) if self.parts else np.empty(0, np.int64)

    @cached_property
    def counts(self) -> np.ndarray:
        """How many completions each item read (g,)."""
        stored = sum(map(len, self.parts)) if self.units is None else int(self.units.sum())
        return stored - (self.held >= 0)

    @property
    def hidden(self) -> np.ndarray:
        """Place of the entry of which nothing is left once what is held out is gone (g,), -1 for none."""
        if self.units is None:
            return self.held
        return np.where((self.held >= 0) & (np.append(self.units, 0)[self.held] > 1), -1, self.held)


class View:
    """A memory plus the writes staged on it. The memory itself stays as it is."""

    def __init__(self, memory: Memory, completions: np.ndarray) -> None:
        """`completions` (n, d) are the request's, which staged entries refer to as ~item."""
        self.memory = memory
        self.completions = completions
        self._head = memory.prompts.head
        self._tail = memory.prompts.tail
        self.completion_count = memory.completion_count
        self._number: dict[bytes, int] = {}
        self._embedding: list[np.ndarray] = []
        self._came: list[int] = []
        self._left: list[int] = []
        self._entries: dict[int, list[int]] = {}
        self._columns: dict[int, np.ndarray] = {}  # prompt -> its entries, as long as they stay

    @cached_property
    def exact(self) -> np.ndarray:
        """The request's completions (n, d) on the grid on which sums are exact."""
        return on_grid(self.completions)

    @property
    def prompt_count(self) -> int:
        """Prompts stored, the staged ones included."""
        return self._tail - self._head

    def write(self, key: bytes, prompt: np.ndarray, items: Sequence[int]) -> list[Write]:
        """Stage completions under their prompt; answers rows for `Writes.of`."""
        number = self.find(key)
        drops_prompt = number is None and self.prompt_count == self.memory.max_prompts
        if drops_prompt:
            self._left += self.entries(self._head)
            self.completion_count -= len(self.entries(self._head))
            self._head += 1
        if number is None:
            number = self._number[key] = self._tail
            self._embedding.append(prompt)
            self._entries[number] = []
            self._tail += 1
        entries = self._staged(number)
        entries += [~item for item in items]
        self._came += items
        drops = max(0, len(entries) - self.memory.max_completions)
        self._left += entries[:drops]
        del entries[:drops]
        self.completion_count += len(items) - drops
        stays = len(items) - drops
        return [(item, number, drops_prompt and not at, at >= stays) for at, item in enumerate(items)]

    def write_all(self, items: np.ndarray, keys: list[bytes], prompts: np.ndarray | Sequence[np.ndarray]) -> Writes:
        """Stage several completions in order; `keys` and `prompts` (n, d) are those of all items."""
        rows = []
        for key, together in groupby(items.tolist(), key=keys.__getitem__):
            first, *others = together
            rows += self.write(key, prompts[first], [first, *others])
        return Writes.of(rows)

    def _staged(self, number: int) -> list[int]:
        """A prompt's entries, to be changed."""
        self._columns.pop(number, None)
        entries = self._entries.get(number)
        if entries is None:
            entries = self._entries[number] = self.memory.entries[number].tolist()
        return entries

    def find(self, key: bytes) -> int | None:
        """Number of the stored prompt with this identity."""
        number = self._number.get(key)
        if number is None:
            number = self.memory.number.get(key)
        return number if number is not None and number >= self._head else None

    def entries(self, prompt: int) -> list[int]:
        """A prompt's completions, oldest first: rows, or ~item where staged."""
        staged = self._entries.get(prompt)
        return staged if staged is not None else self.memory.entries[prompt].tolist()

    def column(self, prompt: int) -> np.ndarray:
        """A prompt's completions (m,), as `entries` has them; not to be changed by the caller."""
        column = self._columns.get(prompt)
        if column is None:
            staged = self._entries.get(prompt)
            column = np.array(self.memory.entries[prompt] if staged is None else staged, np.int64)
            self._columns[prompt] = column
        return column

    def sum(self, prompt: int) -> np.ndarray:
        """Sum (d,) of a prompt's completions, exact (see `memory.GRID`)."""
        return self.sums([prompt])[prompt]

    def sums(self, prompts: Iterable[int]) -> dict[int, np.ndarray]:
        """`sum` of several prompts: of what was stored, and what came, less what left."""
        memory, wanted = self.memory, [*prompts]
        totals = memory.sums([prompt for prompt in wanted if prompt in memory.entries])
        left: list[tuple[int, Sequence[int]]] = []
        for prompt in wanted:
            total, staged = totals.setdefault(prompt, np.zeros(self.completions.shape[1])), self._entries.get(prompt)
            if staged is None:
                continue
            came = [~entry for entry in staged if entry < 0]
            if came:
                totals[prompt] = total + self.exact[came].sum(axis=0)
            stored = memory.entries.get(prompt)
            if stored and len(stored) + len(came) > len(staged):
                left.append((prompt, stored[: len(stored) + len(came) - len(staged)]))
        if left:
            gone = on_grid(memory.completions.take(np.array([row for _, rows in left for row in rows], np.int64)))
            start = 0
            for prompt, rows in left:
                totals[prompt] = totals[prompt] - gone[start : start + len(rows)].sum(axis=0)
                start += len(rows)
        return totals

    def total(self) -> np.ndarray:
        """Sum (d,) of all completions stored, in whole multiples of the grid (see `Memory.total`)."""
        came = in_grid(self.completions[self._came]).sum(axis=0)
        left = in_grid(self.vectors(np.array(self._left, np.int64))).sum(axis=0)
        return np.asarray(self.memory.total() + came - left)

    def most_similar(
        self, queries: np.ndarray, held: np.ndarray, outcomes: np.ndarray, k: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """The k completions stored anywhere in the memory that are most similar to each query, older ones first.

        Exact as long as the memory's index is; it must have one.

        Args:
            queries: (n, d). held: the item whose entry a query must not see (n,), -1 for none.
            outcomes: those of the request's items (n,).

        Returns:
            Their cosines (n, k), largest first, -inf where there are fewer; and their outcomes (n, k).
        """
        index, memory = self.memory.index, self.memory
        assert index is not None
        similarity, outcome = np.full((len(queries), k), -np.inf), np.zeros((len(queries), k))
        if not len(queries):
            return similarity, outcome
        leaving = np.sort(memory.serials[[entry for entry in self._left if entry >= 0]])
        # A policy that collapses says the same again and again: what is equal is compared once.
        asked, which = distinct(queries)
        candidates = index.candidates(asked, k, leaving)
        numbers = np.unique(np.concatenate(candidates))
        rows = index.rows(numbers)
        items = np.setdiff1d(self._came, [~entry for entry in self._left if entry < 0]).astype(np.int64)
        staged = asked @ self.completions[items].T
        vectors, kind = distinct(np.concatenate([memory.completions.take(rows), self.completions[items]]))
        alike = len(vectors) < len(kind)
        paid = np.concatenate([memory.outcomes[rows], outcomes[items]])
        for query, form in enumerate(which.tolist()):
            seen = np.flatnonzero(items != held[query])
            near = seen[nearest(staged[form, seen], k, index.margin)]
            places = np.concatenate([np.searchsorted(numbers, np.sort(candidates[form])), len(numbers) + near])
            kinds, of_kind = np.unique(kind[places], return_inverse=True) if alike else (places, slice(None))
            exact = exact_cosines(asked[form], vectors[kinds])[of_kind]
            order = np.argsort(-exact, kind="stable")[:k]
            similarity[query, : len(order)], outcome[query, : len(order)] = exact[order], paid[places[order]]
        return similarity, outcome

    def nearest(self, readings: list[Reading], keys: list[bytes], prompts: np.ndarray) -> np.ndarray:
        """Similarity of the nearest prompt that each item read (n,): 1 for its own, NaN where it read none.

        Args:
            prompts: embedding of each item's prompt (n, d).
        """
        similarity = np.full(len(keys), np.nan)
        for reading in readings:
            first = int(reading.items[0])
            if reading.prompts and reading.prompts[0] == self.find(keys[first]):
                similarity[reading.items] = 1.0
            elif reading.prompts:
                near = self._embeddings(np.array(reading.prompts[:1]))
                similarity[reading.items] = exact_cosines(prompts[first], near)[0]
        return similarity

    def held_items(self, keys: list[bytes]) -> np.ndarray:
        """For each item of the request the item whose entry it must not see (n,), -1 for none (L9)."""
        held = np.full(len(keys), -1)
        members: dict[bytes, list[int]] = {}
        for item, key in enumerate(keys):
            members.setdefault(key, []).append(item)
        for key, items in members.items():
            prompt = self.find(key)
            if prompt is not None:
                entries = np.array(self.entries(prompt), np.int64)
                places = self._held(np.array(items), entries)
                held[items] = np.where(places >= 0, ~entries[places], -1)
        return held

    def vectors(self, entries: np.ndarray) -> np.ndarray:
        """float32 completions (m, d) behind `entries` (m,)."""
        staged = entries < 0
        if staged.all():
            return np.asarray(self.completions[~entries])
        if not staged.any():
            return self.memory.completions.take(entries)
        vectors = self.memory.completions.take(np.where(staged, 0, entries))
        vectors[staged] = self.completions[~entries[staged]]
        return vectors

    def weights(self, entries: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """How many completions each entry stands for (m,), and what its age leaves of each (m,)."""
        return np.ones(len(entries), np.int64), np.ones(len(entries))

    def serials(self, entries: np.ndarray, first_serial: int) -> np.ndarray:
        """Serial numbers (m,) of completions; the request's own items start at `first_serial`."""
        serials = first_serial + ~entries
        serials[entries >= 0] = self.memory.serials[entries[entries >= 0]]
        return serials

    def read(
        self,
        keys: list[bytes],
        prompts: np.ndarray,
        prompt_of: np.ndarray,
        k: int,
        min_similarity: float | None,
        *,
        hold_one_out: bool = False,
    ) -> list[Reading]:
        """B(M, q) for every item: the completions of its own prompt and of the nearest others, k prompts in all.

        Args:
            keys: identity of each item's prompt (n).
            prompts: the distinct prompt embeddings (u, d); `prompt_of` (n,) says whose is whose.
            min_similarity: other prompts below this cosine are not read.
            hold_one_out: leave one entry out for each item: its own, else that of the next item (cyclic) of the same
                prompt that is stored here, else none. A prompt left without entries is passed over.
        """
        groups: dict[tuple[bytes, int], list[int]] = {}
        for item, pair in enumerate(zip(keys, prompt_of.tolist(), strict=True)):
            groups.setdefault(pair, []).append(item)
        plans: list[_Plan] = []
        for (key, embedding), members in groups.items():
            items, own = np.array(members), self.find(key)
            if own is None or not hold_one_out:
                plans.append((items, embedding, own, own, np.full(len(items), -1)))
                continue
            entries = self.column(own)
            held, units = self._held(items, entries), self._units(entries)
            if units > 1:
                plans.append((items, embedding, own, own, held))
                continue
            for reads, chosen in ((own, held < 0), (None, held >= 0)):
                if chosen.any():
                    plans.append((items[chosen], embedding, own, reads, held[chosen]))
        return [
            self._reading(items, reads, held, others)
            for (items, _, _, reads, held), others in zip(
                plans, self._others(plans, prompts, k, min_similarity), strict=True
            )
        ]

    def _units(self, entries: np.ndarray) -> int:
        """How many completions some entries (m,) stand for."""
        return len(entries)

    def _held(self, items: np.ndarray, entries: np.ndarray) -> np.ndarray:
        """Place in `entries` of the entry each item must not see, -1 for none."""
        (places,) = (entries < 0).nonzero()
        if not len(places):
            return np.full(len(items), -1)
        stored = ~entries[places]  # the request's items stored under this prompt, in item order
        return np.asarray(places[stored.searchsorted(items) % len(stored)])

    def _others(
        self,
        plans: list[_Plan],
        prompts: np.ndarray,
        k: int,
        min_similarity: float | None,
    ) -> list[list[int]]:
        """For each plan the nearest prompts beside its own, as many as k leaves room for."""
        wanted = [k - (reads is not None) for _, _, _, reads, _ in plans]
        asking = [place for place, room in enumerate(wanted) if room > 0]
        nearest: list[list[int]] = [[] for _ in plans]
        if asking:
            queries = prompts[[plans[place][1] for place in asking]].astype(np.float32)
            own = [plans[place][2] for place in asking]
            rooms = [wanted[place] for place in asking]
            for place, found in zip(asking, self._nearest(queries, own, rooms, min_similarity), strict=True):
                nearest[place] = found
        return nearest

    def _nearest(
        self, queries: np.ndarray, own: list[int | None], rooms: list[int], min_similarity: float | None
    ) -> list[list[int]]:
        """Numbers of the nearest prompts but `own`, nearest first, equally near ones in order of age."""
        most = max(room + (mine is not None) for room, mine in zip(rooms, own, strict=True))  # the own one among them
        leaving, staged = self._leaving_and_staged()
        coming = [(staged, self._embeddings(staged))] if len(staged) else []
        candidates = self.memory.prompts.candidates(queries, most, leaving, coming)
        numbers = np.concatenate(candidates)
        asking = np.repeat(np.arange(len(queries)), [len(one) for one in candidates])
        other = numbers != np.array([-1 if mine is None else mine for mine in own])[asking]
        numbers, asking = numbers[other], asking[other]
        involved, place = np.unique(numbers, return_inverse=True)
        cosines = pair_cosines(queries, asking, self._embeddings(involved), place)
        order = np.lexsort((numbers, -cosines, asking))
        ordered = (column[order].tolist() for column in (asking, numbers, cosines))
        found: list[list[int]] = [[] for _ in rooms]
        for query, number, cosine in zip(*ordered, strict=True):
            if len(found[query]) < rooms[query] and (min_similarity is None or cosine >= min_similarity):
                found[query].append(number)
        return found

    def _leaving_and_staged(self) -> tuple[np.ndarray, np.ndarray]:
        """Numbers of the stored prompts that are about to leave, and of those that only this view has, ascending."""
        prompts = self.memory.prompts
        return np.arange(prompts.head, self._head), np.arange(max(self._head, prompts.tail), self._tail)

    def _embeddings(self, numbers: np.ndarray) -> np.ndarray:
        tail = self.memory.prompts.tail
        stored = self.memory.prompts.take(numbers[numbers < tail])
        staged = [self._embedding[number - tail] for number in numbers[numbers >= tail].tolist()]
        return np.concatenate([stored, staged]) if staged else stored

    def _reading(self, items: np.ndarray, own: int | None, held: np.ndarray, others: list[int]) -> Reading:
        prompts = others if own is None else [own, *others]
        parts = [self.column(prompt) for prompt in prompts]
        return Reading(items, prompts, parts, held if own is not None else np.full(len(items), -1))


@dataclass(frozen=True)
class Gathered:
    """The float32 completions (m, d) behind some entries (m,) of a view, gathered when they are looked at."""

    view: View
    entries: np.ndarray

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, places: slice | np.ndarray) -> np.ndarray:
        return self.view.vectors(self.entries[places])


def distinct(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The distinct rows (u, d) of vectors (n, d), bit for bit, and which of them each is (n,)."""
    place: dict[bytes, int] = {}
    which = np.array([place.setdefault(row.tobytes(), len(place)) for row in vectors], np.int64)
    _, first = np.unique(which, return_index=True)
    return vectors[first], which


def exact_cosines(query: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """Cosines (m,) of a query (d,) to vectors (m, d), in float64 and in one fixed order of summation.

    numpy sums a contiguous last axis pairwise and each row by itself, so a cosine depends on its two vectors alone:
    not on how many others were asked for, nor on the matrix library or the number of threads.
    """
    return rowwise_cosines(vectors, query[None])
