"""Summary of rewards: mean and spread of right and wrong completions, and how well a reward tells them apart."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from memr_service.cli.sheet import Sheet
from memr_service.insight.auc import auc_by_group


@dataclass(frozen=True)
class Side:
    """Statistics of a quantity over the right or the wrong completions. Null values are left out."""

    count: int
    mean: float
    std: float
    """Population standard deviation."""

    @classmethod
    def of(cls, values: np.ndarray) -> Side:
        """`values` (n,) with NaN for null."""
        present = values[~np.isnan(values)]
        if present.size == 0:
            return cls(0, float("nan"), float("nan"))
        return cls(int(present.size), float(present.mean()), float(present.std()))


@dataclass(frozen=True)
class SummaryLine:
    """One line of the summary: the reward, or a component's raw or scaled value."""

    name: str
    right: Side
    wrong: Side
    auc: float
    """P(value of a right completion > value of a wrong one) within a group (ties count half), averaged over groups; NaN
    if no group has both."""
    groups: int
    """Number of groups with a value on both sides."""


@dataclass(frozen=True)
class PresetLine:
    """One line of the comparison: the rewards under one preset."""

    reward: SummaryLine
    """The rewards' statistics, under the preset's name."""
    spread: float
    """Mean over groups of the largest minus the smallest reward."""
    rejected: dict[str, float] = field(default_factory=dict)
    """Reason -> share of completions that a guard rejected for it."""
    shares: dict[str, float] = field(default_factory=dict)
    """Component -> its share of the reward."""


def summarise(
    quantities: Mapping[str, Sequence[float | None]], right: Sequence[bool], groups: Sequence[Hashable]
) -> list[SummaryLine]:
    """One line per quantity.

    Args:
        quantities: name -> values (n).
        right: whether each completion is right (n).
        groups: the group of each completion (n).
    """
    side, group = np.asarray(right, dtype=bool), _numbers(groups)
    lines = []
    for name, column in quantities.items():
        values = np.array([np.nan if value is None else value for value in column], dtype=np.float64)
        each = auc_by_group(values, side, group)
        mean = float(each.mean()) if len(each) else float("nan")
        lines.append(SummaryLine(name, Side.of(values[side]), Side.of(values[~side]), mean, len(each)))
    return lines


def spread(rewards: Sequence[float | None], groups: Sequence[Hashable]) -> float:
    """Mean over groups of the largest minus the smallest reward; NaN without a group of two."""
    values = np.array(rewards, dtype=np.float64)
    group = _numbers(groups)
    count = np.bincount(group)
    lowest, highest = np.full(len(count), np.inf), np.full(len(count), -np.inf)
    np.minimum.at(lowest, group, values)
    np.maximum.at(highest, group, values)
    each = (highest - lowest)[count > 1]
    return float(each.mean()) if len(each) else float("nan")


def _numbers(groups: Sequence[Hashable]) -> np.ndarray:
    """Number of each row's group (n,), from 0 without gaps."""
    known: dict[Hashable, int] = {}
    return np.array([known.setdefault(group, len(known)) for group in groups], np.int64)


def table(lines: Sequence[SummaryLine], preset: str) -> Sheet:
    """The summary as a table for the terminal, with the preset's name."""
    shown = Sheet("", title=f"Right and wrong completions under {preset}")
    shown.block("right", "mean", "sd")
    shown.block("wrong", "mean", "sd")
    shown.block("AUC", "groups")
    for line in lines:
        shown.row(line.name, _cells(line.right), _cells(line.wrong), [_number(line.auc), str(line.groups)])
    shown.caption = (
        "AUC: how often a right completion has a higher value than a wrong one of its group (ties count half), "
        "averaged over groups that have both. 0.5: no information. 1.0: the label itself."
    )
    return shown


def comparison(outcomes: PresetLine, presets: Sequence[PresetLine]) -> Sheet:
    """The comparison of presets as a table for the terminal, with the outcomes as the last line."""
    shown = Sheet("preset", title="Rewards under each preset")
    shown.block("right", "wrong", "AUC", "spread")
    shown.block("rejected by guards", "share of the reward", figures=False)
    for one in [*presets, outcomes]:
        if one is outcomes:
            shown.section()
        numbers = (one.reward.right.mean, one.reward.wrong.mean, one.reward.auc, one.spread)
        texts = [_listed(one.rejected, ".2%"), _listed(one.shares, ".0%")]
        shown.row(one.reward.name, [_number(number) for number in numbers], texts)
    shown.caption = (
        "right, wrong: mean reward. AUC: of the reward, as above. spread: largest minus smallest reward of a group, "
        "averaged over groups; compare it with the spread of your outcomes. The table does not tell which preset "
        "trains best: an AUC of 1.0 only repeats the verifier."
    )
    return shown


def _listed(shares: dict[str, float], form: str) -> str:
    return "\n".join(f"{name} {share:{form}}" for name, share in shares.items()) or "-"


def _cells(side: Side) -> tuple[str, str, str]:
    return str(side.count), _number(side.mean), _number(side.std)


def _number(value: float) -> str:
    return "-" if np.isnan(value) else f"{value:.3f}"
