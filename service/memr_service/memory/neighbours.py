"""The completions of a memory that are most similar to some vectors, whatever their prompt."""

from __future__ import annotations

import numpy as np

from memr_service.memory.cosine import exact_cosines
from memr_service.memory.distinct import distinct_rows
from memr_service.memory.index import nearest
from memr_service.memory.view import View


def most_similar(
    view: View, queries: np.ndarray, held: np.ndarray, outcomes: np.ndarray, k: int
) -> tuple[np.ndarray, np.ndarray]:
    """The k stored completions that are most similar to each query; of equally similar ones the older come first.

    The result is exact as far as the search in the memory's index is; the memory must have one.

    Args:
        queries: (n, d). held: the item whose entry a query must not see (n,), -1 for none.
        outcomes: those of the request's items (n,).

    Returns:
        Their cosines (n, k), largest first, -inf where there are fewer than k; and their outcomes (n, k).
    """
    memory, index = view.memory, view.memory.index
    assert index is not None
    similarity, outcome = np.full((len(queries), k), -np.inf), np.zeros((len(queries), k))
    if not len(queries):
        return similarity, outcome
    leaving = np.sort(memory.serials[[entry for entry in view.removed if entry >= 0]])
    # A policy that collapses repeats itself again and again: equal vectors are compared once.
    asked, which = distinct_rows(queries)
    candidates = index.candidates(asked, k, leaving)
    numbers = np.unique(np.concatenate(candidates))
    rows = index.rows(numbers)
    items = np.setdiff1d(view.added, [~entry for entry in view.removed if entry < 0]).astype(np.int64)
    staged = asked @ view.completions[items].T
    vectors, kind = distinct_rows(np.concatenate([memory.completions.take(rows), view.completions[items]]))
    has_copies = len(vectors) < len(kind)
    earned = np.concatenate([memory.outcomes[rows], outcomes[items]])
    for query, form in enumerate(which.tolist()):
        seen = np.flatnonzero(items != held[query])
        near = seen[nearest(staged[form, seen], k, index.margin)]
        found = np.concatenate([np.searchsorted(numbers, np.sort(candidates[form])), len(numbers) + near])
        kinds, of_kind = np.unique(kind[found], return_inverse=True) if has_copies else (found, slice(None))
        cosines = exact_cosines(asked[form], vectors[kinds])[of_kind]
        order = np.argsort(-cosines, kind="stable")[:k]
        similarity[query, : len(order)], outcome[query, : len(order)] = cosines[order], earned[found[order]]
    return similarity, outcome
