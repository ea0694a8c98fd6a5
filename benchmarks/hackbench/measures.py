"""Statistics of rewarded groups (`Played`), which are arrays (groups, items) with any junk as the last item."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from benchmarks.hackbench.trial import Played

TIE = 1e-9
"""Rewards that differ by less are equal up to rounding."""
FLAT = 0.5
"""Real attempts are flattened if less than this share of their rewards' spread is left."""


def above_median(rewards: np.ndarray) -> float:
    """Share of groups (g, 4) whose junk (the last item) gets more than the median of the real attempts."""
    return float(np.mean(rewards[:, -1] > np.median(rewards[:, :-1], axis=1) + TIE))


def above_alike(rewards: np.ndarray, outcomes: np.ndarray) -> float:
    """The same, compared with real attempts of the junk's own outcome only; NaN if there are none."""
    won = [
        reward[-1] > np.median(reward[:-1][outcome[:-1] == outcome[-1]]) + TIE
        for reward, outcome in zip(rewards, outcomes, strict=True)
        if (outcome[:-1] == outcome[-1]).any()
    ]
    return float(np.mean(won)) if won else float("nan")


def told_apart(rewards: np.ndarray) -> float:
    """Share of groups (g, n) in which rewards differ; NaN without a group."""
    return float(np.mean(np.ptp(rewards, axis=1) > TIE)) if len(rewards) else float("nan")


def right_first(rewards: np.ndarray, outcomes: np.ndarray) -> float:
    """Share of mixed groups (g, n) in which outcome + reward puts every right answer above every wrong one."""
    total, right = outcomes + rewards, outcomes > 0.5
    lowest, highest = (np.where(right, total, np.inf).min(axis=1), np.where(right, -np.inf, total).max(axis=1))
    mixed = right.any(axis=1) & ~right.all(axis=1)
    return float(np.mean(lowest[mixed] > highest[mixed] + TIE)) if mixed.any() else float("nan")


def spread_shares(rewards: np.ndarray, outcomes: np.ndarray) -> tuple[float, float]:
    """The largest spread of rewards: in mixed groups as a share of the outcomes' spread, and with equal outcomes."""
    spread, of_outcomes = np.ptp(rewards, axis=1), np.ptp(outcomes, axis=1)
    mixed = of_outcomes > TIE
    return float((spread[mixed] / of_outcomes[mixed]).max(initial=0.0)), float(spread[~mixed].max(initial=0.0))


def auc(values: np.ndarray, outcomes: np.ndarray) -> float:
    """P(value of a right item > value of a wrong one of its group), ties half; groups are (g, n). NaN without a pair.

    0.5 has no information about correctness; 1 and 0 are the label itself. Items without a value (NaN) are ignored.
    """
    won = pairs = 0.0
    for value, right in zip(values, outcomes > 0.5, strict=True):
        difference = value[right][:, None] - value[~right][None, :]
        difference = difference[~np.isnan(difference)]
        won += (difference > TIE).sum() + 0.5 * (np.abs(difference) <= TIE).sum()
        pairs += difference.size
    return float(won / pairs) if pairs else float("nan")


def auc_by_rights(values: np.ndarray, outcomes: np.ndarray) -> dict[str, float]:
    """`auc` over all groups of four, and over those with one, two and three right completions."""
    rights = (outcomes > 0.5).sum(axis=1)
    found = {"all": auc(values, outcomes)}
    return found | {str(n): auc(values[rights == n], outcomes[rights == n]) for n in (1, 2, 3)}


def spread(played: Played, rewards: np.ndarray) -> tuple[float, float]:
    """Standard deviation of rewards over all real attempts, and over the right ones."""
    return float(rewards.std()), float(rewards[played.outcomes > 0.5].std())


def kept(clean: tuple[float, float], spoilt: tuple[float, float]) -> float:
    """The share of the spread that is left, for the one of the two spreads that lost more."""
    return min(after / before if before > TIE else 1.0 for before, after in zip(clean, spoilt, strict=True))


def flattened_by(shares: Mapping[int, float]) -> int | None:
    """The smallest dose of junk that leaves less than half of the spread; None if no dose does."""
    return next((dose for dose, share in sorted(shares.items()) if share < FLAT), None)
