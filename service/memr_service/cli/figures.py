"""PNG figures of replays and runs. matplotlib is imported when one is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from memr_client.errors import InvalidRequest
from memr_client.schemas import Audits, Backtest, HistoryRow, Quantiles, ReplayResult

from memr_service.cli.options import require_writable

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = ("#000000", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442")
"""Colours that colour-blind readers can tell apart (Okabe and Ito)."""
ENDING = ".png"


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


def calibration(found: Backtest, path: Path) -> None:
    """Draw how often groups had spread against how often it was foreseen, and how many groups each point has."""
    figure, (upper, lower) = _figure(2, 1, (5.6, 6.2), found.run_id, sharex=True, height_ratios=(3, 1))
    _calibrated(upper, found)
    upper.set_ylabel("share of groups that had spread", fontsize=9)
    seen = [one for one in found.calibration if one.groups]
    bars = lower.bar(
        [(one.low + one.high) / 2 for one in seen], [one.groups for one in seen], 0.09, color=COLOURS[6], linewidth=0
    )
    lower.bar_label(bars, [f"{one.groups:,}" for one in seen], fontsize=8, padding=1)
    lower.margins(y=0.2)
    lower.set_ylabel("groups", fontsize=9)
    lower.set_xlabel("probability of spread that was foreseen", fontsize=9)
    lower.spines[["top", "right"]].set_visible(False)
    lower.tick_params(labelsize=8)
    _save(figure, path)


def pass_rates(rows: Sequence[HistoryRow], found: Backtest, title: str, path: Path) -> None:
    """Draw the share of groups with spread over the steps, and the backtest's calibration."""
    figure, (left, right) = _figure(1, 2, (10.5, 4.2), title)
    x = [row.position if row.step is None else row.step for row in rows]
    _thin(left, x, [1 - row.zero_variance_share for row in rows], "groups with spread", COLOURS[1])
    left.set_ylim(-0.03, 1.03)
    left.set_xlabel("step", fontsize=8)
    _tidy(left)
    _calibrated(right, found)
    right.set_xlabel("probability of spread that was foreseen", fontsize=8)
    right.set_ylabel("share of groups that had spread", fontsize=8)
    _save(figure, path)


def _calibrated(axes: Axes, found: Backtest) -> None:
    """Points of a backtest's bins, with 90 % intervals of the share that was seen, and the diagonal."""
    points = [
        (one.foreseen, one.seen, *_wilson(one.seen, one.groups))
        for one in found.calibration
        if one.foreseen is not None and one.seen is not None
    ]
    x, y = [point[0] for point in points], [point[1] for point in points]
    below = [max(seen - low, 0) for _, seen, low, _ in points]
    above = [max(high - seen, 0) for _, seen, _, high in points]
    axes.plot([0, 1], [0, 1], color="#999999", linewidth=0.8, linestyle=":", label="as foreseen")
    axes.errorbar(
        x, y, [below, above], label="seen, 90 % interval", color=COLOURS[1], marker="o", markersize=4, linewidth=1.2,
        capsize=2,
    )  # fmt: skip
    axes.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03))
    numbers = (("AUC", found.auc), ("Brier", found.brier), ("of the mean", found.brier_base))
    said = ", ".join(f"{name} {value:.3f}" for name, value in numbers if value is not None)
    off = "" if found.calibration_error is None else f"calibration error {found.calibration_error:.3f}"
    axes.set_title(f"{said}\n{off}, {found.known:,} groups", fontsize=9)
    _tidy(axes)


def _wilson(share: float, n: int, z: float = 1.645) -> tuple[float, float]:
    """Wilson's interval of a share of n."""
    middle = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z * ((share * (1 - share) + z**2 / (4 * n)) / n) ** 0.5 / (1 + z**2 / n)
    return middle - half, middle + half


def _figure(rows: int, columns: int, size: tuple[float, float], title: str, **layout: Any) -> Any:
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, dpi=130, layout="constrained")
    figure.suptitle(title, fontsize=11)
    return figure, figure.subplots(rows, columns, **layout)


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


def require_picture(path: Path) -> None:
    """Check, before the work begins, that a figure can be drawn into a file.

    Raises:
        InvalidRequest: the name does not end in .png, the file cannot be written, or matplotlib is not installed.
    """
    if path.suffix.lower() != ENDING:
        raise InvalidRequest(
            f"{path} does not end in {ENDING}: a figure is a PNG file.",
            value=str(path),
            remedy=f"Name it {path.stem}{ENDING}, for example.",
        )
    require_writable(path)
    require_matplotlib()


def require_matplotlib() -> None:
    """Check, before the work begins, that figures can be drawn.

    Raises:
        InvalidRequest: matplotlib is not installed.
    """
    if find_spec("matplotlib") is None:
        raise InvalidRequest(
            "figures need matplotlib, which is not installed.",
            value="matplotlib",
            limit="the extra `report`",
            remedy="Run pip install '.[report]' in a clone of memr.",
        )


def _save(figure: Any, path: Path) -> None:
    figure.savefig(path, format="png")
