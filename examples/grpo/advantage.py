"""The equations of GRPO (Shao et al. 2024, arXiv 2402.03300) and Dr. GRPO (Liu et al. 2025, arXiv 2503.20783).

A reward's baseline is its group's mean. Two others are here to compare with: the batch's mean, and James-Stein's.

Symbols: n completions, ordered by group, G per group; r their rewards (n); A their advantages (n); B completions in a
batch; T tokens of the longest completion. Pure functions; no argument is changed.
"""

from __future__ import annotations

import torch
from torch import Tensor

EPSILON = 1e-4
"""Added to a group's standard deviation, as in TRL."""


def group_advantages(rewards: Tensor, group_size: int, variant: str) -> Tensor:
    """A_i = (r_i - mean r) / (std r + 1e-4) within each group, (n) to (n). Dr. GRPO does not divide.

    std is the sample standard deviation, over G - 1, as in TRL.
    """
    groups = rewards.view(-1, group_size)
    centred = groups - groups.mean(1, keepdim=True)
    return (centred if variant == "dr-grpo" else centred / _spread(groups)).flatten()


def batch_advantages(rewards: Tensor, group_size: int, variant: str) -> Tensor:
    """A_i = (r_i - mean r) / (std r + 1e-4) over the whole batch, (n) to (n). Dr. GRPO does not divide.

    Groups do not count, so a group whose rewards are all equal has advantages, too.
    """
    return group_advantages(rewards, len(rewards), variant)


def shrunk_advantages(rewards: Tensor, group_size: int, variant: str) -> Tensor:
    """A_i = (r_i - b_i) / (std r + 1e-4), std over the batch, (n) to (n); n / G >= 3 groups. Dr. GRPO does not divide.

    The baseline is James-Stein's (Zeng et al. 2025, arXiv 2511.03710), which leaves out what it must to be unbiased:

        b_i = (1 - l) m_i + l M      m_i: mean of the other completions of the group; M: mean of the other groups' means
        l = v / (v + s + 1e-6)       v: mean over the other groups of var / G; s: variance of their means around M

    var is over G - 1, the variance of the means over their number; 1e-6 is that of the paper's code.
    """
    groups = rewards.view(-1, group_size)
    number = len(groups)
    means, variances = groups.mean(1), groups.var(1) / group_size
    others = ~torch.eye(number, dtype=torch.bool)
    of_others = means.expand(number, -1)[others].view(number, -1)  # (groups, groups - 1)
    v = variances.expand(number, -1)[others].view(number, -1).mean(1)
    s = of_others.var(1, correction=0)
    share = (v / (v + s + 1e-6))[:, None]
    own = (groups.sum(1, keepdim=True) - groups) / (group_size - 1)
    centred = groups - (1 - share) * own - share * of_others.mean(1, keepdim=True)
    return (centred if variant == "dr-grpo" else centred / (rewards.std() + EPSILON)).flatten()


ADVANTAGES = {"group": group_advantages, "batch": batch_advantages, "james-stein": shrunk_advantages}
"""Baseline -> advantages."""


def clipped_loss(logp: Tensor, old_logp: Tensor, advantages: Tensor, clip: float) -> Tensor:
    """-min(rho A, clip(rho, 1 - eps, 1 + eps) A) of each token (B, T), with rho = p / p_old and advantages A (B)."""
    ratio = (logp - old_logp).exp()
    advantages = advantages[:, None]
    return -torch.minimum(ratio * advantages, ratio.clamp(1 - clip, 1 + clip) * advantages)


def k3(logp: Tensor, reference_logp: Tensor) -> Tensor:
    """Estimate of KL(policy || reference) for each token: exp(x) - x - 1 >= 0 with x = log p_ref - log p."""
    x = reference_logp - logp
    return x.exp() - x - 1


def token_mean(values: Tensor, mask: Tensor, variant: str, max_completion: int) -> Tensor:
    """One value per completion, (B, T) to (B): the mean over its tokens; Dr. GRPO: their sum / max_completion."""
    sums = (values * mask).sum(1)
    return sums / (max_completion if variant == "dr-grpo" else mask.sum(1))


def memory_share(rewards: Tensor, memory: Tensor, outcomes: Tensor, group_size: int) -> dict[str, float | None]:
    """Share of the advantages' variance that comes from the memory, in all groups and in each kind of group.

    A reward is r = b + m, m the memory's part, and so is an advantage: A = A_b + A_m with
    A_x = (x - mean x) / (std r + 1e-4) within the group. Then var A = cov(A_b, A) + cov(A_m, A), and

        share = sum of A_m A / sum of A A    over the groups of a kind.

    The shares of b and m add up to 1. The memory's share is negative if it opposes the rest, and above 1 if it
    outweighs a rest that opposes it. None: there are no such groups, or all their advantages are 0. The kinds
    `all_wrong`, `mixed` and `all_right` are by the outcomes, which are 0 or 1. All arguments are (n).
    """
    groups, parts, right = (x.view(-1, group_size) for x in (rewards, memory, outcomes))
    spread = _spread(groups)
    whole = (groups - groups.mean(1, keepdim=True)) / spread
    part = (parts - parts.mean(1, keepdim=True)) / spread
    share = right.mean(1)
    kinds = {"all": share >= 0, "all_wrong": share == 0, "mixed": (share > 0) & (share < 1), "all_right": share == 1}
    return {kind: _ratio((part * whole)[chosen].sum(), whole.square()[chosen].sum()) for kind, chosen in kinds.items()}


def _spread(groups: Tensor) -> Tensor:
    return groups.std(1, keepdim=True) + EPSILON


def _ratio(above: Tensor, below: Tensor) -> float | None:
    return float(above / below) if below > 0 else None
