"""What rewards say about rollouts: level and spread per outcome side, and how well they tell right from wrong."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from rich.table import Table

from memr_service.insight.auc import auc_by_group


@dataclass(frozen=True)
class Side:
    """A quantity over the right or over the wrong completions; null values are left out."""

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
class Quantity:
    """One line of the summary: the reward, or a component raw or scaled."""

    name: str
    right: Side
    wrong: Side
    auc: float
    """Mean over groups of P(value of a right one > value of a wrong one), ties half; NaN without a group with both."""
    groups: int
    """Groups that count: with a value on both sides."""


@dataclass(frozen=True)
class Verdict:
    """What one preset would pay: a line of the comparison, under the reward's name."""

    reward: Quantity
    spread: float
    """Mean over groups of the largest minus the smallest reward."""
    rejected: dict[str, float] = field(default_factory=dict)
    """Reason -> share of the completions that a guard rejected for it."""
    shares: dict[str, float] = field(default_factory=dict)
    """Component -> its share of what was paid."""


def summarise(
    quantities: Mapping[str, Sequence[float | None]], right: Sequence[bool], groups: Sequence[Hashable]
) -> list[Quantity]:
    """One `Quantity` per column of `quantities`, n values each; `right` and `groups` are columns of n too."""
    side, group = np.asarray(right, dtype=bool), _numbers(groups)
    lines = []
    for name, column in quantities.items():
        values = np.array([np.nan if value is None else value for value in column], dtype=np.float64)
        each = auc_by_group(values, side, group)
        mean = float(each.mean()) if len(each) else float("nan")
        lines.append(Quantity(name, Side.of(values[side]), Side.of(values[~side]), mean, len(each)))
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


def table(quantities: Sequence[Quantity]) -> Table:
    """The summary as a table for the terminal."""
    shown = Table("", title="Right and wrong completions")
    for heading in ("right", "mean", "sd", "wrong", "mean", "sd", "AUC", "groups"):
        shown.add_column(heading, justify="right")
    for line in quantities:
        right, wrong = _cells(line.right), _cells(line.wrong)
        shown.add_row(line.name, *right, *wrong, _number(line.auc), str(line.groups))
    shown.caption = (
        "AUC: how often a right completion lies above a wrong one of its group (ties half), mean over the groups that "
        "have both. 0.5 tells nothing, 1.0 is the label itself."
    )
    return shown


def comparison(verifier: Verdict, verdicts: Sequence[Verdict]) -> Table:
    """Presets side by side, as a table for the terminal, above what the verifier itself gave."""
    shown = Table("preset", title="What each preset would pay whom")
    for heading in ("right", "wrong", "AUC", "spread"):
        shown.add_column(heading, justify="right")
    shown.add_column("rejected by guards")
    shown.add_column("share of the reward")
    for one in [*verdicts, verifier]:
        if one is verifier:
            shown.add_section()
        numbers = (one.reward.right.mean, one.reward.wrong.mean, one.reward.auc, one.spread)
        shown.add_row(one.reward.name, *map(_number, numbers), _listed(one.rejected, ".2%"), _listed(one.shares, ".0%"))
    shown.caption = (
        "right, wrong: mean reward. AUC: as above, of the reward. spread: the largest minus the smallest reward of a "
        "group, mean over groups; that of your outcomes is what it competes with. None of this says which preset "
        "trains best: an AUC of 1.0 only repeats the verifier, and random knows nothing."
    )
    return shown


def _listed(shares: dict[str, float], form: str) -> str:
    return "\n".join(f"{name} {share:{form}}" for name, share in shares.items()) or "-"


def _cells(side: Side) -> tuple[str, str, str]:
    return str(side.count), _number(side.mean), _number(side.std)


def _number(value: float) -> str:
    return "-" if np.isnan(value) else f"{value:.3f}"
