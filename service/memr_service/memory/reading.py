"""What the items of a request read of a memory: the completions of the k nearest prompts (L4, L9)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice

import numpy as np

from memr_service.memory.cosine import exact_cosines, pair_cosines
from memr_service.memory.distinct import distinct_rows
from memr_service.memory.view import View

CROWDED = 4
"""Many prompts are equally near if there are so many times more candidates than are wanted."""


@dataclass(frozen=True)
class Reading:
    """What some items of a request read: all of them the same prompts.

    `items` (g,): which items. `prompts` (p,): numbers of the prompts, own first, then nearest first. `parts` (p,): the
    entries of each prompt (m,): a row of the memory where >= 0, else ~item of the request. `held` (g,): position in the
    first part of the completion that the item must not see, -1 for none. `units`: how many completions each entry
    stands for, part after part; None where each stands for itself alone.
    """

    items: np.ndarray
    prompts: list[int]
    parts: list[np.ndarray]
    held: np.ndarray
    units: np.ndarray | None = None

    @cached_property
    def entries(self) -> np.ndarray:
        """The entries of all the prompts (m,), part after part."""
        return _joined(self.parts)

    @cached_property
    def counts(self) -> np.ndarray:
        """How many completions each item read (g,)."""
        stored = sum(map(len, self.parts)) if self.units is None else int(self.units.sum())
        return stored - (self.held >= 0)

    @property
    def hidden(self) -> np.ndarray:
        """Position of the entry that an item does not see at all, since its only unit is held out (g,); -1 for none."""
        if self.units is None:
            return self.held
        return np.where((self.held >= 0) & (np.append(self.units, 0)[self.held] > 1), -1, self.held)


@dataclass(frozen=True)
class _Plan:
    """Items that read the same prompts.

    `embedding`: row of their prompt's embedding. `own`: number of their prompt, if it is stored. `reads`: the same, if
    they read it. `held` (g,): position of that prompt's entry that each item must not see, -1 for none.
    """

    items: np.ndarray
    embedding: int
    own: int | None
    reads: int | None
    held: np.ndarray


def read(
    view: View,
    keys: Sequence[bytes],
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
        prompts: the distinct prompt embeddings (u, d). prompt_of: the row of each item's (n,).
        k: 0 reads the item's own prompt only.
        min_similarity: other prompts below this cosine are not read.
        hold_one_out: leave one entry out for each item: its own, else that of the next item (cyclic) of the same prompt
            that is stored here, else none. A prompt left without entries is passed over.
    """
    plans = _plans(view, keys, prompt_of, hold_one_out)
    return [
        _reading(view, plan, others)
        for plan, others in zip(plans, _others(view, plans, prompts, k, min_similarity), strict=True)
    ]


def nearest_prompt(view: View, readings: Sequence[Reading], keys: Sequence[bytes], prompts: np.ndarray) -> np.ndarray:
    """Cosine of the nearest prompt that each item read (n,): 1 for its own, NaN where it read none.

    Args:
        prompts: embedding of each item's prompt (n, d).
    """
    cosines = np.full(len(keys), np.nan)
    for reading in readings:
        first = int(reading.items[0])
        if reading.prompts and reading.prompts[0] == view.find(keys[first]):
            cosines[reading.items] = 1.0
        elif reading.prompts:
            near = view.embeddings(np.array(reading.prompts[:1]))
            cosines[reading.items] = exact_cosines(prompts[first], near)[0]
    return cosines


def held_items(view: View, keys: Sequence[bytes]) -> np.ndarray:
    """For each item of the request the item whose entry it must not see (n,), -1 for none (L9).

    An entry that also stands for other completions is never hidden.
    """
    held = np.full(len(keys), -1)
    members: dict[bytes, list[int]] = {}
    for item, key in enumerate(keys):
        members.setdefault(key, []).append(item)
    for key, items in members.items():
        prompt = view.find(key)
        if prompt is not None:
            entries = view.column(prompt)
            positions = view.held(np.array(items), entries)
            hidden = (positions >= 0) & (entries[positions] < 0) & (view.units(entries)[positions] == 1)
            held[items] = np.where(hidden, ~entries[positions], -1)
    return held


def _plans(view: View, keys: Sequence[bytes], prompt_of: np.ndarray, hold_one_out: bool) -> list[_Plan]:
    """Put the items together that read the same prompts."""
    groups: dict[tuple[bytes, int], list[int]] = {}
    for item, pair in enumerate(zip(keys, prompt_of.tolist(), strict=True)):
        groups.setdefault(pair, []).append(item)
    plans: list[_Plan] = []
    for (key, embedding), members in groups.items():
        items, own = np.array(members), view.find(key)
        if own is None or not hold_one_out:
            plans.append(_Plan(items, embedding, own, own, np.full(len(items), -1)))
            continue
        entries = view.column(own)
        held = view.held(items, entries)
        if view.unit_count(entries) > 1:
            plans.append(_Plan(items, embedding, own, own, held))
            continue
        for reads, chosen in ((own, held < 0), (None, held >= 0)):  # nothing is left for those that hold it out
            if chosen.any():
                plans.append(_Plan(items[chosen], embedding, own, reads, held[chosen]))
    return plans


def _reading(view: View, plan: _Plan, others: list[int]) -> Reading:
    prompts = others if plan.reads is None else [plan.reads, *others]
    held = np.full(len(plan.items), -1) if plan.reads is None else plan.held
    parts = [view.column(prompt) for prompt in prompts]
    return Reading(plan.items, prompts, parts, held, view.units(_joined(parts)) if view.merges else None)


def _joined(parts: list[np.ndarray]) -> np.ndarray:
    return np.concatenate(parts) if parts else np.empty(0, np.int64)


def _others(
    view: View, plans: list[_Plan], prompts: np.ndarray, k: int, min_similarity: float | None
) -> list[list[int]]:
    """For each plan the nearest prompts besides its own, as many as k leaves room for."""
    wanted = [k - (plan.reads is not None) for plan in plans]
    asking = [number for number, count in enumerate(wanted) if count > 0]
    others: list[list[int]] = [[] for _ in plans]
    if asking:
        queries = prompts[[plans[number].embedding for number in asking]].astype(np.float32)
        own = [plans[number].own for number in asking]
        counts = [wanted[number] for number in asking]
        for number, found in zip(asking, _nearest(view, queries, own, counts, min_similarity), strict=True):
            others[number] = found
    return others


def _nearest(
    view: View, queries: np.ndarray, own: list[int | None], wanted: list[int], min_similarity: float | None
) -> list[list[int]]:
    """For each query (u, d) numbers of the nearest prompts but `own`, nearest first, equally near ones by age."""
    most = max(count + (mine is not None) for count, mine in zip(wanted, own, strict=True))  # its own is among them
    asked, which = distinct_rows(queries)  # prompts that begin alike may have equal embeddings
    staged = view.staged_prompts()
    coming = [(staged, view.embeddings(staged))] if len(staged) else []
    candidates = view.memory.prompts.candidates(asked, most, view.leaving_prompts(), coming)
    numbers, cosines, ends = _ranked(view, asked, candidates, most)
    least = -np.inf if min_similarity is None else min_similarity
    found = []
    for query, mine, count in zip(which.tolist(), own, wanted, strict=True):
        here = slice(ends[query], ends[query + 1])
        near = zip(numbers[here], cosines[here], strict=True)
        found.append([*islice((number for number, cosine in near if number != mine and cosine >= least), count)])
    return found


def _ranked(
    view: View, queries: np.ndarray, candidates: list[np.ndarray], most: int
) -> tuple[list[int], list[float], list[int]]:
    """Each query's candidates, nearest first by their exact cosines, equally near ones by age.

    Returns:
        Numbers and cosines of all queries, one query after the other, and where each query's begin and end (u + 1).
    """
    numbers, ends = np.concatenate(candidates), np.cumsum([0, *map(len, candidates)])
    asking = np.repeat(np.arange(len(queries)), np.diff(ends))
    involved, row = np.unique(numbers, return_inverse=True)
    vectors = view.embeddings(involved)
    if len(numbers) > CROWDED * most * len(queries):  # many are equally near: equal vectors are compared once
        vectors, kind = distinct_rows(vectors)
        pairs, pair = np.unique(asking * len(vectors) + kind[row], return_inverse=True)
        cosines = pair_cosines(queries, pairs // len(vectors), vectors, pairs % len(vectors))[pair]
    else:
        cosines = pair_cosines(queries, asking, vectors, row)
    order = np.lexsort((numbers, -cosines, asking))
    return numbers[order].tolist(), cosines[order].tolist(), ends.tolist()
