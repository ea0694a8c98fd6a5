"""banded_novelty: be unlike your siblings, but no wrong answer ever earns as much as a right one."""

from __future__ import annotations

import numpy as np

from memr_service.memory.cosine import among

FLAT = 1e-6
"""Novelties that differ by less than this are the same but for rounding."""
BANDS = {True: (0.5, 1.0), False: (-1.0, -0.5)}
"""Correctness -> lower end of the band, half a unit wide, and what the only item of its class in a group gets."""


def banded_novelty(a: np.ndarray, group: np.ndarray, right: np.ndarray, *, flat: float = FLAT) -> np.ndarray:
    """Novelty u among siblings, min-max scaled in its class into [0.5, 1] (right) or [-1, -0.5] (wrong).

    EVOL-RL (arXiv 2509.15194 and its code). The only right item of a group gets 1, the only wrong one -0.5. Departures:
    cosines are not cut off at 0, and there is no third class for answers without a valid format (-1 there).

    A class of equally novel items sits in the middle of its band (0.75, -0.75), as in that code. But min-max gives the
    whole band to a class however little its items differ, so that paraphrases are told apart by noise. Therefore a
    class whose novelties spread by less than `flat` gets the share spread / flat of its band, around the middle:
    rounding never counts, and a larger `flat` (the spread worth the whole band) keeps noise small.

    Args:
        a: completions (n, d).
        group: number of each item's group (n,).
        right: which items succeeded (n,) bool.

    Returns:
        (n,) in [-1, -0.5] or [0.5, 1]; NaN for an item without siblings.
    """
    banded = np.full(len(a), np.nan)
    for number in np.unique(group):
        members = np.flatnonzero(group == number)
        if len(members) > 1:
            own = right[members]
            banded[members] = _bands(novelty(a[members], own), own, flat)
    return banded


def novelty(a: np.ndarray, right: np.ndarray) -> np.ndarray:
    """u = 1 - (0.5 mean cos to the siblings of the same correctness + 0.5 max cos to all siblings) of a group (g, d).

    The mean over no siblings counts as 0; its only use would be to compare the item with others of its class.
    """
    cosines = among(a)
    np.fill_diagonal(cosines, -np.inf)
    alike = (right[:, None] == right) & ~np.eye(len(a), dtype=bool)
    mean = np.where(alike, cosines, 0.0).sum(axis=-1) / np.maximum(alike.sum(axis=-1), 1)
    return np.asarray(1.0 - (0.5 * mean + 0.5 * cosines.max(axis=-1)))


def _bands(u: np.ndarray, right: np.ndarray, flat: float) -> np.ndarray:
    banded = np.empty(len(u))
    for correct, (lower, alone) in BANDS.items():
        own = right == correct
        if own.sum() == 1:
            banded[own] = alone
        elif own.any():
            lowest, spread = u[own].min(), np.ptp(u[own])
            width = max(spread, flat)
            share = (u[own] - lowest) / width + (1.0 - spread / width) / 2.0
            banded[own] = lower + 0.5 * share
    return banded
