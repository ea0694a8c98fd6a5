"""Is a training collapsing? One function for each figure, of a stretch's columns; NaN means that it cannot be told.

Symbols: n items in groups of g completions each; a (n, d) completions and q (n, d) prompts, unit rows; R (n,) outcomes;
m (n,) memory rewards. `group` (n,) numbers the groups from 0.
"""

from __future__ import annotations

import numpy as np

from memr_service.insight.auc import auc_by_group
from memr_service.rewards import groups

REPEATED = 0.95
"""Failures at least this similar say the same."""
MOST_PROMPTS = 64
"""Prompts among which a completion has to find its own."""


def zero_variance(outcomes: np.ndarray, group: np.ndarray) -> float:
    """Share of groups whose outcomes are all equal: group-normalised advantages learn nothing of R there."""
    lowest, highest = groups.extremes(outcomes, group)
    return float((lowest == highest).mean())


def component_shares(scaled: dict[str, np.ndarray], weights: dict[str, float]) -> dict[str, float]:
    """Component -> |weight * mean of scaled| / sum of that over all: one that has it all is the reward."""
    paid = {name: abs(weight * float(scaled[name].mean())) for name, weight in weights.items()}
    return {name: one / (sum(paid.values()) or 1.0) for name, one in paid.items()}


def memory_shares(outcomes: np.ndarray, rewards: np.ndarray, group: np.ndarray, right: np.ndarray) -> dict[str, float]:
    """Kind of group -> share of all the advantages' variance that the memory brings in there.

    A = (R + m) minus its group's mean = A_R + A_m; share of a kind = sum over its items of A_m A / sum over all of A A.
    What is left to one is the outcomes'. In mixed groups it is negative where the memory opposes the verifier.

    Args:
        rewards: m, already times what the trainer weighs it by.
        right: (n,) bool.
    """
    total, memory = groups.center(outcomes + rewards, group), groups.center(rewards, group)
    correct = np.bincount(group, right) / np.bincount(group)
    kinds = {"all_wrong": correct == 0, "mixed": (correct > 0) & (correct < 1), "all_right": correct == 1}
    whole = float(total @ total)
    if whole == 0:
        return dict.fromkeys(kinds, float("nan"))
    return {kind: float((memory * total)[mask[group]].sum()) / whole for kind, mask in kinds.items()}


def auc(values: np.ndarray, right: np.ndarray, group: np.ndarray) -> float:
    """How often a right completion has more of it than a wrong one of its group, mean over groups (see `ranking`)."""
    each = auc_by_group(values, right, group)
    return float(each.mean()) if len(each) else float("nan")


def diversity(completions: np.ndarray, group: np.ndarray) -> float:
    """Mean over groups of how unlike siblings are (see `memr_service.rewards.groups`)."""
    each = groups.diversity(completions, group)
    return float(each.mean()) if len(each) else float("nan")


def vendi(completions: np.ndarray, group: np.ndarray) -> float:
    """Mean over groups of the Vendi score, exp(-sum l ln l) over the eigenvalues l of K / g, K_ij = cos(a_i, a_j).

    The effective number of different completions, from 1 to g (Friedman and Dieng, arXiv 2210.02410).
    """
    count, order = np.bincount(group), np.argsort(group, kind="stable")
    begins, scores = np.cumsum(count) - count, []
    for size in np.unique(count[count > 1]).tolist():
        members = order[begins[count == size][:, None] + np.arange(size)]
        a = completions[members].astype(np.float64)
        values = np.clip(np.linalg.eigvalsh(a @ a.transpose(0, 2, 1) / size), 1e-12, None)
        scores.append(np.exp(-(values * np.log(values)).sum(axis=1)))
    return float(np.concatenate(scores).mean()) if scores else float("nan")


def repeated_failures(
    completions: np.ndarray, group: np.ndarray, wrong: np.ndarray, explore: np.ndarray | None
) -> float:
    """Share of the wrong completions with a cosine >= 0.95 to another failure: of a sibling's, or one they read.

    Args:
        wrong: (n,) bool.
        explore: raw explore (n,), which is 1 - the largest cosine to the failures read; None where the run has none.
    """
    if not wrong.any():
        return float("nan")
    repeats = np.zeros(len(wrong), bool) if explore is None else explore <= 1 - REPEATED
    order = np.flatnonzero(wrong)[np.argsort(group[wrong], kind="stable")]
    for members in np.split(order, np.flatnonzero(np.diff(group[order])) + 1):
        cosines = completions[members] @ completions[members].T
        np.fill_diagonal(cosines, -1)
        repeats[members] |= cosines.max(axis=1) >= REPEATED
    return float(repeats[wrong].mean())


def own_prompt(completions: np.ndarray, prompts: np.ndarray, keys: list[bytes]) -> float:
    """How often a completion's nearest prompt is its own, above chance: (hits - 1 / P) / (1 - 1 / P) among P prompts.

    A template says the same whatever was asked: 0. Diversity need not show that (RAGEN-2, arXiv 2604.06268).
    """
    number: dict[bytes, int] = {}
    of = np.array([number.setdefault(key, len(number)) for key in keys])
    first = np.unique(of, return_index=True)[1][:MOST_PROMPTS]
    asked = of < len(first)
    if len(first) < 2:
        return float("nan")
    hits = float((np.argmax(completions[asked] @ prompts[first].T, axis=1) == of[asked]).mean())
    return (hits - 1 / len(first)) / (1 - 1 / len(first))


def moved(now: tuple[float, float, float], before: tuple[float, float, float]) -> float:
    """(median now - median before) / (p95 - p5 before), of raw values (p5, p50, p95); scaled ones hide it."""
    return (now[1] - before[1]) / max(before[2] - before[0], 1e-9)
