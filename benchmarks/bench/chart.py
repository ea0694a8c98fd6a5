"""The figures as a picture: ratios with their floors, and the latency in large memories."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib

matplotlib.use("agg")

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from benchmarks.bench.figures import Figure

WAITS = {"": "4 prompts", "_64_prompts": "64 prompts"}
HOLDS, MISSED, PLAIN = "#2a7f62", "#b23a48", "#7a8794"


def draw(found: Sequence[Figure], path: Path) -> None:
    """Write the picture."""
    ratios = [one for one in found if one.row.unit == "x"]
    figure, (left, right) = plt.subplots(1, 2, figsize=(13, 1.5 + 0.32 * len(ratios)), width_ratios=[2, 1])
    bars(left, ratios)
    waits(right, found)
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    plt.close(figure)


def bars(axes: Axes, ratios: Sequence[Figure]) -> None:
    """Draw a bar for each ratio, on a logarithmic scale, with its spread and a line at its floor."""
    for at, one in enumerate(ratios):
        color = {None: PLAIN, True: HOLDS, False: MISSED}[one.row.holds]
        value = one.row.value
        axes.barh(at, value, color=color, xerr=[[value - one.low], [one.high - value]], capsize=2)
        if one.row.floor is not None:
            axes.plot([one.row.floor] * 2, [at - 0.45, at + 0.45], color="black", linewidth=2)
        axes.annotate(f" {value:.3g}", (max(value, one.high), at), va="center", fontsize=8)
    axes.set_xscale("log")
    axes.set_yticks(range(len(ratios)), [one.row.name for one in ratios], fontsize=8)
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.set_title("Ratios (black: the floor; green holds, red misses)", fontsize=10)


def waits(axes: Axes, found: Sequence[Figure]) -> None:
    """Draw the median latency over the number of stored prompts."""
    for suffix, label in WAITS.items():
        named = {one.row.name: one for one in found}
        sizes = {size: named.get(f"latency_{short}{suffix}_ms") for short, size in SIZES.items()}
        known = {size: one for size, one in sizes.items() if one is not None}
        if known:
            axes.plot(list(known), [one.row.value for one in known.values()], marker="o", label=label)
    axes.set_xscale("log")
    axes.set_ylim(bottom=0)
    axes.set_xlabel("prompts stored")
    axes.set_ylabel("ms")
    axes.set_title("64 completions, half of their prompts unseen", fontsize=10)
    if axes.lines:
        axes.legend(fontsize=8)


SIZES = {"1k": 1_000, "100k": 100_000, "1m": 1_000_000}
