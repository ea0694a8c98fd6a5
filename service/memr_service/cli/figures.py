"""Pictures: PNG files by matplotlib, which is loaded when one is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from memr_client.errors import InvalidRequest
from memr_client.insight import ReplayResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = ("#000000", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442")
"""Told apart by colour-blind eyes (Okabe and Ito)."""


def sweep(result: ReplayResult, labels: Sequence[str], path: Path) -> None:
    """A replay's settings beside each other: how they rank right and wrong, and how near they stay to what was paid."""
    names = ["as recorded", *labels]
    scored = [result.recorded, *(one.scored for one in result.settings)]
    parts = list(dict.fromkeys(name for one in scored for name in one.raw))
    figure, (ranks, parts_axes, near) = _figure(1, 3, (13.5, 4.2), result.run_id)
    places = range(len(names))
    for colour, name in zip(COLOURS, ["reward", *parts], strict=False):
        found = [one.reward if name == "reward" else one.raw.get(name) for one in scored]
        _line(ranks, places, [None if one is None else one.auc for one in found], name, colour)
        if name != "reward":
            scaled = [one.scaled.get(name) for one in scored]
            means = [None if one is None else one.mean for one in scaled]
            spreads = [0.0 if one is None or one.std is None else one.std for one in scaled]
            beside = 0.08 * (parts.index(name) - (len(parts) - 1) / 2)
            _line(parts_axes, [place + beside for place in places], means, name, colour, spreads)
    ranks.axhline(0.5, color="#999999", linewidth=0.8, linestyle=":")
    ranks.set_title("AUC in groups: right above wrong", fontsize=10)
    parts_axes.set_title("scaled parts: mean, bars one sd", fontsize=10)
    _line(near, places, [1.0, *(one.correlation for one in result.settings)], "rewards", COLOURS[0])
    _line(near, places, [1.0, *(one.correlation_in_groups for one in result.settings)], "within groups", COLOURS[1])
    _line(near, places, [one.rejected_share for one in scored], "rejected by guards", COLOURS[2])
    near.set_title("correlation with what was paid", fontsize=10)
    for axes in (ranks, parts_axes, near):
        axes.set_xticks([*places], names, rotation=30, ha="right", fontsize=8)
        axes.legend(fontsize=8, frameon=False)
    _save(figure, path)


def _figure(rows: int, columns: int, size: tuple[float, float], title: str) -> Any:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise InvalidRequest("a picture needs matplotlib.", remedy="pip install 'memr[report]'") from error
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
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)


def _save(figure: Any, path: Path) -> None:
    figure.savefig(path, format="png")
