"""How well probabilities find what was changed. Equal probabilities count together: their order says nothing."""

from __future__ import annotations

import numpy as np
from memr_service.insight.auc import auc_by_group


def auc(p: np.ndarray, changed: np.ndarray, fold: np.ndarray | None = None) -> float:
    """P(a changed reference has a higher probability than another), the mean over folds if they are given.

    NaN if nowhere both are there.
    """
    found = auc_by_group(p, changed, np.zeros(len(p), int) if fold is None else fold)
    return float(found.mean()) if len(found) else float("nan")


def among_strongest(p: np.ndarray, changed: np.ndarray, count: int) -> float:
    """Changed references among the `count` most probable: expected, with those that tie at the end at random."""
    last = np.sort(p)[-count]
    above, tied = p > last, p == last
    return float(changed[above].sum() + changed[tied].mean() * (count - above.sum()))


def precision_at(p: np.ndarray, changed: np.ndarray, recall: float) -> float:
    """The best precision of any cut that finds this share of what was changed."""
    cuts = np.unique(p)
    found = [at(p, changed, cut) for cut in cuts]
    return max(precision for precision, got in found if got >= recall)


def at(p: np.ndarray, changed: np.ndarray, cut: float) -> tuple[float, float]:
    """Precision and recall of a cut; a precision of NaN if it accuses nothing."""
    accused = p >= cut
    hits = float((accused & changed).sum())
    return hits / accused.sum() if accused.any() else float("nan"), hits / changed.sum()
