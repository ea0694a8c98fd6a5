"""partition: the outcome counts in full if no sibling has the same idea, and for nothing if all have it."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from memr_service.memory.cosine import among


def partition(
    label: np.ndarray | None,
    a: np.ndarray,
    group: np.ndarray,
    outcome: np.ndarray,
    *,
    similarity: float = 0.9,
    floor: float = 0.0,
) -> np.ndarray:
    """R * max(floor, (G - |class|) / (G - 1)): the outcome, times the share of the siblings that have another idea.

    The class of a completion are the completions of its group that have the same idea, itself included; G is the size
    of the group. DARLING (arXiv 2509.02534; its code has a floor of 0.1). There a trained classifier decides which
    completions mean the same, and union-find joins them into classes. Here the caller's labels decide; without labels,
    cosines of at least `similarity` do, joined by union-find too, which find equal wording rather than equal ideas.
    Outcomes must not be negative: being different would then cost more.

    Args:
        label: number of each item's class (n,), the same within a group for the same idea, negative if the caller gave
            none; None if there are no labels at all.
        a: completions (n, d), used only without labels.
        group: number of each item's group (n,); G is its size.
        outcome: R (n,).
        similarity: cosine from which two completions are in one class.
        floor: the smallest share of R that is left.

    Returns:
        (n,); NaN for an item without siblings (the quotient is 0 / 0) and for an item without a label if others have
        one: if it counted as unique, sending no label would pay most.
    """
    raw = np.full(len(a), np.nan)
    for number in np.unique(group):
        members = np.flatnonzero(group == number)
        if len(members) > 1:
            own = alike(a[members], similarity) if label is None else label[members]
            size = (own[:, None] == own).sum(axis=-1)
            different = np.maximum((len(members) - size) / (len(members) - 1), floor)
            raw[members] = np.where(own >= 0, outcome[members] * different, np.nan)
    return raw


def alike(a: np.ndarray, similarity: float) -> np.ndarray:
    """Class (g,) of each completion a (g, d) of a group: those linked by a chain of cosines >= similarity share one."""
    one, other = np.nonzero(np.triu(among(a) >= similarity, 1))
    return union_find(len(a), zip(one.tolist(), other.tolist(), strict=True))


def union_find(n: int, pairs: Iterable[tuple[int, int]]) -> np.ndarray:
    """Class (n,) of each item 0 ... n - 1, joined by `pairs` of equal items; its number is its smallest member."""
    parent = list(range(n))

    def root(item: int) -> int:
        while parent[item] != item:
            parent[item] = item = parent[parent[item]]
        return item

    for one, other in pairs:
        first, second = sorted((root(one), root(other)))
        parent[second] = first
    return np.array([root(item) for item in range(n)], np.int64)
