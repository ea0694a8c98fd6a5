"""banded_novelty: novelty among siblings, in bands that keep every wrong completion below every right one."""

from __future__ import annotations

import numpy as np

from memr_service.memory.cosine import among

FLAT = 1e-6
"""Novelties that differ by less than this differ by rounding only."""
BANDS = {True: (0.5, 1.0), False: (-1.0, -0.5)}
"""Right or not -> lower end of the band, which is 0.5 wide, and the value of an item that is alone in its class."""


def banded_novelty(a: np.ndarray, group: np.ndarray, right: np.ndarray, *, flat: float = FLAT) -> np.ndarray:
    """Novelty u among siblings (`novelty`), min-max scaled into [0.5, 1] for right items, [-1, -0.5] for wrong ones.

    EVOL-RL (arXiv 2509.15194 and its code). It scales the right and the wrong items of a group separately. The only
    right item of a group gets 1, the only wrong one -0.5. Differences from that code: cosines are not cut off at 0, and
    there is no third class for answers without a valid format (-1 there).

    Items of a class that are equally novel get the middle of its band (0.75, -0.75), as in that code. But min-max
    stretches a class over the whole band however little its items differ, so that noise decides among paraphrases.
    Therefore a class whose novelties spread by less than `flat` gets only the share spread / flat of its band, around
    the middle. Rounding then never counts, and a larger `flat` keeps noise small.

    Args:
        a: completions (n, d).
        group: number of each item's group (n,).
        right: which items succeeded (n,) bool.
        flat: the spread of novelties from which a class gets its whole band.

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
    """u = 1 - (0.5 * mean cosine to the siblings of the same class + 0.5 * max cosine to all siblings) (g,).

    The mean over no siblings counts as 0: an item that is alone in its class is compared with no other.

    Args:
        a: completions of one group (g, d).
        right: which of them succeeded (g,) bool.
    """
    cosines = among(a)
    np.fill_diagonal(cosines, -np.inf)
    alike = (right[:, None] == right) & ~np.eye(len(a), dtype=bool)
    mean = np.where(alike, cosines, 0.0).sum(axis=-1) / np.maximum(alike.sum(axis=-1), 1)
    return np.asarray(1.0 - (0.5 * mean + 0.5 * cosines.max(axis=-1)))


def _bands(u: np.ndarray, right: np.ndarray, flat: float) -> np.ndarray:
    """Novelties u (g,) of one group scaled into the bands of their classes (g,)."""
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
