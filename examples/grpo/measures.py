"""Metrics of a step. A metric is None if there is nothing to measure.

| name | meaning |
|---|---|
| outcome, format, memory, reward | means of the outcome, the format reward, the memory's weighted reward, the total |
| zero_variance, zero_variance_outcome | share of groups whose rewards, or whose outcomes, are all equal |
| memory_share, memory_share/KIND | `advantage.memory_share`, over all groups and by kind |
| groups/KIND | share of groups that are all_wrong, mixed or all_right |
| mode/NAME, right/NAME | share of completions that answer this way, and the share of right ones among them |
| component/NAME, spread/NAME | mean of a component's scaled value; mean of its standard deviation within groups |
| gap/NAME | its mean over right siblings minus its mean over wrong ones |
| length, length_p10, length_p90, truncated | tokens of a completion; share of completions cut at the limit |
| diversity | 1 - mean cosine between the token counts of siblings |
| loss, kl, surprise, clipped, grad_norm | of the last update; surprise is the mean -log p of a token |
| rollout_s, reward_s, update_s | seconds |
| accuracy | on held-out questions, in steps with an evaluation |
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import torch
from torch import Tensor

from examples.grpo.advantage import memory_share
from examples.grpo.policy import Tokens
from examples.grpo.rewards import Rewards
from examples.grpo.rollout import Rollout

Row = dict[str, float | None]


def measures(rollout: Rollout, rewards: Rewards, modes: Sequence[str], group_size: int) -> Row:
    """All metrics of a step except those of the update and the durations."""
    outcomes, totals = rewards.outcome.view(-1, group_size), rewards.total.view(-1, group_size)
    right = outcomes.mean(1)
    kinds = {"all_wrong": right == 0, "mixed": (right > 0) & (right < 1), "all_right": right == 1}
    shares = memory_share(rewards.total, rewards.memory, rewards.outcome, group_size)
    lengths = torch.tensor([float(len(completion)) for completion in rollout.completions])
    row: Row = {
        "outcome": float(rewards.outcome.mean()),
        "format": float(rewards.format.mean()),
        "memory": float(rewards.memory.mean()),
        "reward": float(rewards.total.mean()),
        "zero_variance": _share(_flat(totals)),
        "zero_variance_outcome": _share(_flat(outcomes)),
        "memory_share": shares.pop("all"),
        "length": float(lengths.mean()),
        "length_p10": float(lengths.quantile(0.1)),
        "length_p90": float(lengths.quantile(0.9)),
        "truncated": sum(rollout.truncated) / len(rollout.truncated),
        "diversity": diversity(rollout.completions, group_size),
    }
    row |= {f"groups/{kind}": _share(chosen) for kind, chosen in kinds.items()}
    row |= {f"memory_share/{kind}": share for kind, share in shares.items()}
    for mode, count in Counter(modes).items():
        chosen = torch.tensor([other == mode for other in modes])
        row |= {f"mode/{mode}": count / len(modes), f"right/{mode}": float(rewards.outcome[chosen].mean())}
    for name, values in rewards.components.items():
        row |= {f"component/{name}": float(values.mean()), f"gap/{name}": gap(values, rewards.outcome, group_size)}
        row[f"spread/{name}"] = float(values.view(-1, group_size).std(1).mean())
    return row


def gap(values: Tensor, outcomes: Tensor, group_size: int) -> float | None:
    """Mean over mixed groups of (mean value of right completions - mean value of wrong ones); all arguments are (n)."""
    pairs = zip(values.view(-1, group_size), outcomes.view(-1, group_size) > 0, strict=True)
    gaps = [own[right].mean() - own[~right].mean() for own, right in pairs if right.any() and not right.all()]
    return float(torch.stack(gaps).mean()) if gaps else None


def diversity(completions: Sequence[Tokens], group_size: int) -> float:
    """1 - mean cosine between the token counts of two siblings; 0 if all siblings are equal."""
    distances = []
    for start in range(0, len(completions), group_size):
        siblings = completions[start : start + group_size]
        column = {token: number for number, token in enumerate(sorted({token for own in siblings for token in own}))}
        counts = torch.zeros(len(siblings), len(column))
        for row, own in zip(counts, siblings, strict=True):
            row += torch.bincount(torch.tensor([column[token] for token in own]), minlength=len(column))
        unit = counts / counts.norm(dim=1, keepdim=True)
        pairs = group_size * (group_size - 1)
        distances.append(1 - ((unit @ unit.T).sum() - group_size) / pairs)
    return float(torch.stack(distances).mean())


def _flat(groups: Tensor) -> Tensor:
    return groups.amax(1) - groups.amin(1) < 1e-6


def _share(chosen: Tensor) -> float:
    return float(chosen.float().mean())
