"""Is a training collapsing? One function for each figure of a stretch; NaN if the figure cannot be computed.

Symbols: n items in groups of g completions each; a (n, d) completions and q (n, d) prompts, unit rows; R (n,) outcomes;
m (n,) memory rewards; `group` (n,) the number of each item's group, from 0 without gaps.
"""

from __future__ import annotations

import numpy as np

from memr_service.insight.auc import auc_by_group
from memr_service.rewards import groups

REPEATED = 0.95
"""Failures with at least this cosine are the same mistake."""
MOST_PROMPTS = 64
"""Prompts among which `own_prompt` looks for a completion's own."""


def zero_variance(outcomes: np.ndarray, group: np.ndarray) -> float:
    """Share of groups whose outcomes are all equal, from which group-normalised advantages learn nothing of R.

    Args:
        outcomes: R (n,).
    """
    lowest, highest = groups.extremes(outcomes, group)
    return float((lowest == highest).mean())


def component_shares(scaled: dict[str, np.ndarray], weights: dict[str, float]) -> dict[str, float]:
    """Component c -> |weight_c * mean scaled_c| / sum over all components of the same, in [0, 1].

    Args:
        scaled: component -> scaled values (n,).
        weights: component -> its weight.
    """
    means = {name: abs(weight * float(scaled[name].mean())) for name, weight in weights.items()}
    return {name: one / (sum(means.values()) or 1.0) for name, one in means.items()}


def memory_shares(outcomes: np.ndarray, rewards: np.ndarray, group: np.ndarray, right: np.ndarray) -> dict[str, float]:
    """Kind of group -> share of the variance of all advantages that the memory contributes in groups of this kind.

    A = (R + m) minus its group's mean = A_R + A_m. The share of a kind is the sum of A_m A over its items, divided by
    the sum of A A over all items. The rest to 1 is the share of the outcomes. In mixed groups the share is negative if
    the memory opposes the verifier.

    Args:
        outcomes: R (n,).
        rewards: m (n,), multiplied by the trainer's weight of the memory.
        right: (n,) bool.

    Returns:
        "all_wrong", "mixed" and "all_right" -> the share.
    """
    total, memory = groups.center(outcomes + rewards, group), groups.center(rewards, group)
    correct = np.bincount(group, right) / np.bincount(group)
    kinds = {"all_wrong": correct == 0, "mixed": (correct > 0) & (correct < 1), "all_right": correct == 1}
    whole = float(total @ total)
    if whole == 0:
        return dict.fromkeys(kinds, float("nan"))
    return {kind: float((memory * total)[mask[group]].sum()) / whole for kind, mask in kinds.items()}


def auc(values: np.ndarray, right: np.ndarray, group: np.ndarray) -> float:
    """How often a right completion has a larger value than a wrong one of its group, mean over groups.

    Args:
        values: (n,), NaN for none (see `insight.auc.auc_by_group`).
        right: (n,) bool.
    """
    each = auc_by_group(values, right, group)
    return float(each.mean()) if len(each) else float("nan")


def diversity(completions: np.ndarray, group: np.ndarray) -> float:
    """1 - mean cosine of two siblings, mean over groups (see `rewards.groups.diversity`)."""
    each = groups.diversity(completions, group)
    return float(each.mean()) if len(each) else float("nan")


def vendi(completions: np.ndarray, group: np.ndarray) -> float:
    """The Vendi score, mean over groups: exp(-sum l ln l) over the eigenvalues l of K / g with K_ij = cos(a_i, a_j).

    The effective number of different completions in a group, from 1 to g (Friedman and Dieng, arXiv 2210.02410).
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
    """Share of the wrong completions with a cosine >= 0.95 to another failure, of a sibling or one that they read.

    Args:
        completions: a (n, d).
        wrong: (n,) bool.
        explore: raw explore (n,), that is 1 - the largest cosine to the failures read; None if the run has no explore.
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

    A template, the same text for every prompt, gives 0. Diversity need not show it (RAGEN-2, arXiv 2604.06268).

    Args:
        completions: a (n, d).
        prompts: q (n, d).
        keys: identity of each item's prompt (n); the first 64 distinct ones count.
    """
    number: dict[bytes, int] = {}
    of = np.array([number.setdefault(key, len(number)) for key in keys])
    first = np.unique(of, return_index=True)[1][:MOST_PROMPTS]
    counted = of < len(first)
    if len(first) < 2:
        return float("nan")
    hits = float((np.argmax(completions[counted] @ prompts[first].T, axis=1) == of[counted]).mean())
    return (hits - 1 / len(first)) / (1 - 1 / len(first))


def moved(now: tuple[float, float, float], before: tuple[float, float, float]) -> float:
    """(median now - median before) / (p95 - p5 before), from the quantiles (p5, p50, p95) of raw values.

    Scaled values hide such a drift, because the window moves along.
    """
    return (now[1] - before[1]) / max(before[2] - before[0], 1e-9)
