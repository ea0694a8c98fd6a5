"""The picture: the share of each class of junk that outranks real attempts, side by side for four presets."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from benchmarks.hackbench.junk import SIDES
from benchmarks.hackbench.results import MEMORIES, Result

SHOWN = ("memory-r+", "official-memory-r+", "guarded", "attempts")


def draw(results: Mapping[str, Result], path: Path) -> None:
    """Write the PNG. Colours go from light to dark in one hue, and every cell shows its number."""
    presets = [name for name in SHOWN if name in results]
    figure = Figure(figsize=(2.6 + 1.7 * len(presets), 10.5), layout="constrained")
    parts = figure.subplots(len(SIDES), 1, height_ratios=[len(classes) for classes in SIDES.values()])
    for axes, (side, classes) in zip(parts, SIDES.items(), strict=True):
        shares = np.array(
            [[results[name].cells[memory, junk].above for name in presets for memory in MEMORIES] for junk in classes]
        )
        image = axes.imshow(100 * shares, cmap="Blues", vmin=0, vmax=100, aspect="auto")
        for (row, column), share in np.ndenumerate(shares):
            color = "white" if share > 0.55 else "black"
            axes.text(column, row, f"{100 * share:.0f}", ha="center", va="center", color=color, fontsize=9)
        axes.set_title(side.capitalize(), fontsize=10.5, loc="left", pad=24)
        axes.set_yticks(range(len(classes)), classes, fontsize=9)
        axes.set_xticks(range(shares.shape[1]), [*MEMORIES] * len(presets), fontsize=8)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        for number, name in enumerate(presets):
            axes.axvline(2 * number - 0.5, color="white", linewidth=6)
            axes.text(2 * number + 0.5, -0.62, name, ha="center", va="bottom", fontsize=9.5, fontweight="bold")
    figure.colorbar(image, ax=parts, shrink=0.4, label="junk above the median real attempt (%)")
    figure.savefig(path, dpi=150)
