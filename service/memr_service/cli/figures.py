"""PNG figures of replays and runs. matplotlib is imported when one is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from memr_client.errors import InvalidRequest
from memr_client.schemas import Audits, HistoryRow, Quantiles, ReplayResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = ("#000000", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442")
"""Colours that colour-blind readers can tell apart (Okabe and Ito)."""


def sweep(result: ReplayResult, labels: Sequence[str], path: Path) -> None:
    """Compare a replay's settings: how they rank right and wrong, and how they correlate with the recorded rewards."""
    names = ["as recorded", *labels]
    scored = [result.recorded, *(one.scored for one in result.settings)]
    parts = list(dict.fromkeys(name for one in scored for name in one.raw))
    figure, (ranks, parts_axes, near) = _figure(1, 3, (13.5, 4.2), result.run_id)
    x = range(len(names))
    for colour, name in zip(COLOURS, ["reward", *parts], strict=False):
        found = [one.reward if name == "reward" else one.raw.get(name) for one in scored]
        _line(ranks, x, [None if one is None else one.auc for one in found], name, colour)
        if name != "reward":
            scaled = [one.scaled.get(name) for one in scored]
            means = [None if one is None else one.mean for one in scaled]
            spreads = [0.0 if one is None or one.std is None else one.std for one in scaled]
            shift = 0.08 * (parts.index(name) - (len(parts) - 1) / 2)
            _line(parts_axes, [at + shift for at in x], means, name, colour, spreads)
    ranks.axhline(0.5, color="#999999", linewidth=0.8, linestyle=":")
    ranks.set_title("AUC within groups: right above wrong", fontsize=10)
    parts_axes.set_title("scaled components: mean, bars one sd", fontsize=10)
    _line(near, x, [1.0, *(one.correlation for one in result.settings)], "rewards", COLOURS[0])
    _line(near, x, [1.0, *(one.correlation_in_groups for one in result.settings)], "within groups", COLOURS[1])
    _line(near, x, [one.rejected_share for one in scored], "rejected by guards", COLOURS[2])
    near.set_title("correlation with recorded rewards, share rejected", fontsize=10)
    for axes in (ranks, parts_axes, near):
        axes.set_xticks([*x], names, rotation=30, ha="right", fontsize=8)
        _tidy(axes)
    parts_axes.get_legend().remove()  # the panel to the left has the same colours, and the bars leave no room
    _save(figure, path)


def curves(rows: Sequence[HistoryRow], title: str, path: Path) -> None:
    """Draw a run's curves: outcome and reward, components raw and scaled, lengths, sizes of the memories."""
    parts = list(rows[-1].components)
    figure, axes = _figure(2, 2 + (len(parts) + 1) // 2, (4.4 * (2 + (len(parts) + 1) // 2), 6.4), title)
    x = [row.position if row.step is None else row.step for row in rows]
    first, second, third, fourth, *others = axes.T.flatten()
    _thin(first, x, [row.outcome_mean for row in rows], "outcome", COLOURS[0])
    _thin(first, x, [row.reward_mean for row in rows], "reward", COLOURS[1])
    _thin(second, x, [row.zero_variance_share for row in rows], "groups of equal outcomes", COLOURS[2])
    _band(third, x, [row.length for row in rows], "characters", COLOURS[3])
    for colour, memory in zip(COLOURS[4:], ("success", "failure"), strict=False):
        _thin(fourth, x, [getattr(row.memory, memory).completions for row in rows], f"{memory} memory", colour)
    for panel, name in zip(others, parts, strict=False):
        found = [row.components.get(name) for row in rows]
        _band(panel, x, [one.raw if one else None for one in found], f"{name}, raw", COLOURS[1])
        _thin(panel, x, [one.scaled_mean if one else None for one in found], f"{name}, scaled", COLOURS[2])
    for panel in axes.flatten():
        panel.set_xlabel("step", fontsize=8)
        _tidy(panel)
    _save(figure, path)


def health(looks: Sequence[Audits], title: str, path: Path) -> None:
    """Draw the figures that the audits check, along a run: diversity, own prompts, repeated failures, AUC, shares."""
    seen = [look.recent for look in looks if look.recent is not None]
    x = [one.position if one.step is None else one.step for one in seen]
    figure, (left, middle, right) = _figure(1, 3, (13.5, 3.8), title)
    _line(left, x, [one.diversity for one in seen], "diversity of siblings", COLOURS[1])
    _line(left, x, [one.own_prompt for one in seen], "nearest to its own prompt", COLOURS[3])
    _line(left, x, [one.repeated_failures for one in seen], "repeated failures", COLOURS[2])
    for colour, name in zip(COLOURS[1:], seen[-1].auc, strict=False):
        _line(middle, x, [one.auc.get(name) for one in seen], f"AUC {name}", colour)
    middle.axhline(0.5, color="#999999", linewidth=0.8, linestyle=":")
    for colour, kind in zip((COLOURS[2], COLOURS[0], COLOURS[3]), ("all_wrong", "mixed", "all_right"), strict=True):
        label = f"memory's share, {kind.replace('_', ' ')} groups"
        _line(right, x, [one.memory_share.get(kind) for one in seen], label, colour)
    for panel in (left, middle, right):
        panel.set_xlabel("step", fontsize=8)
        _tidy(panel)
    _save(figure, path)


def _figure(rows: int, columns: int, size: tuple[float, float], title: str) -> Any:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise InvalidRequest("figures need matplotlib.", remedy="pip install '.[report]' in a clone of memr") from error
    figure = Figure(figsize=size, dpi=130, layout="constrained")
    figure.suptitle(title, fontsize=11)
    return figure, figure.subplots(rows, columns)


def _line(
    axes: Axes,
    x: Any,
    values: list[float | None],
    name: str,
    colour: str,
    spreads: list[float] | None = None,
) -> None:
    y = [float("nan") if value is None else value for value in values]
    axes.errorbar(x, y, spreads, label=name, color=colour, marker="o", markersize=3.5, linewidth=1.3, capsize=2)


def _thin(axes: Axes, x: Sequence[float], values: Sequence[float | None], name: str, colour: str) -> None:
    axes.plot(x, [float("nan") if value is None else value for value in values], label=name, color=colour, linewidth=1)


def _band(axes: Axes, x: Sequence[float], values: Sequence[Quantiles | None], name: str, colour: str) -> None:
    """The median, and a band from the 5th to the 95th percentile."""
    low, middle, high = (
        [float("nan") if one is None else getattr(one, quantile) for one in values] for quantile in ("p5", "p50", "p95")
    )
    axes.fill_between(x, low, high, color=colour, alpha=0.2, linewidth=0)
    axes.plot(x, middle, label=name, color=colour, linewidth=1)


def _tidy(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=8, frameon=False)
    else:
        axes.set_visible(False)


def _save(figure: Any, path: Path) -> None:
    figure.savefig(path, format="png")
