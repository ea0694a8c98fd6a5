"""partition: an outcome counts in full where no sibling has the same idea, and for nothing where all have."""

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
    """R * max(floor, (G - |class|) / (G - 1)), the class being the siblings that say the same, itself included.

    DARLING (arXiv 2509.02534; its code has a floor of 0.1). There a trained classifier decides which completions mean
    the same, closed by union-find; here the caller's labels do, else cosines of at least `similarity`, closed by
    union-find too, which find wording rather than ideas. Outcomes must not be negative: to differ would cost more.

    Args:
        label: number of each item's class (n,), the same within a group for the same idea, negative where the caller
            gave none; None where there are no labels at all.
        a: completions (n, d), read only without labels.
        group: number of each item's group (n,); G is its size.
        outcome: R (n,).

    Returns:
        (n,); NaN for an item without siblings (the quotient is 0 / 0) and for one without a label among labelled ones,
        since being taken for unique would make leaving labels out the best of answers.
    """
    paid = np.full(len(a), np.nan)
    for number in np.unique(group):
        members = np.flatnonzero(group == number)
        if len(members) > 1:
            own = alike(a[members], similarity) if label is None else label[members]
            size = (own[:, None] == own).sum(axis=-1)
            different = np.maximum((len(members) - size) / (len(members) - 1), floor)
            paid[members] = np.where(own >= 0, outcome[members] * different, np.nan)
    return paid


def alike(a: np.ndarray, similarity: float) -> np.ndarray:
    """Class of each of a group's completions (g, d): those joined by a chain of cosines >= similarity share one."""
    one, other = np.nonzero(np.triu(among(a) >= similarity, 1))
    return union_find(len(a), zip(one.tolist(), other.tolist(), strict=True))


def union_find(n: int, pairs: Iterable[tuple[int, int]]) -> np.ndarray:
    """The classes (n,) that `pairs` of equal items make of 0 ... n - 1, each named after its smallest member."""
    parent = list(range(n))

    def root(item: int) -> int:
        while parent[item] != item:
            parent[item] = item = parent[parent[item]]
        return item

    for one, other in pairs:
        first, second = sorted((root(one), root(other)))
        parent[second] = first
    return np.array([root(item) for item in range(n)], np.int64)
