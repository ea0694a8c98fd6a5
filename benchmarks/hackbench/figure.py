"""The picture: the share of each class of junk that outranks real attempts, under the paper's preset and `guarded`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from benchmarks.hackbench.junk import CLASSES, SLY
from benchmarks.hackbench.results import MEMORIES, Result

SHOWN = ("memory-r+", "official-memory-r+", "guarded")


def draw(results: Mapping[str, Result], path: Path) -> None:
    """Write the PNG. Colours go from light to dark in one hue, and every cell shows its number."""
    presets = [name for name in SHOWN if name in results]
    figure = Figure(figsize=(2.6 + 2.0 * len(presets), 9.5), layout="constrained")
    parts = figure.subplots(2, 1, height_ratios=[len(CLASSES), len(SLY)])
    titles = "Junk from a policy that does not know the answer", "Junk with the right answer in it"
    for axes, classes, title in zip(parts, ([*CLASSES], [*SLY]), titles, strict=True):
        shares = np.array(
            [[results[name].cells[memory, junk].above for name in presets for memory in MEMORIES] for junk in classes]
        )
        image = axes.imshow(100 * shares, cmap="Blues", vmin=0, vmax=100, aspect="auto")
        for (row, column), share in np.ndenumerate(shares):
            color = "white" if share > 0.55 else "black"
            axes.text(column, row, f"{100 * share:.0f}", ha="center", va="center", color=color, fontsize=9)
        axes.set_title(title, fontsize=10.5, loc="left", pad=24)
        axes.set_yticks(range(len(classes)), classes, fontsize=9)
        axes.set_xticks(range(shares.shape[1]), [*MEMORIES] * len(presets), fontsize=8)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        for number, name in enumerate(presets):
            axes.axvline(2 * number - 0.5, color="white", linewidth=6)
            axes.text(2 * number + 0.5, -0.62, name, ha="center", va="bottom", fontsize=9.5, fontweight="bold")
    figure.colorbar(image, ax=parts, shrink=0.4, label="junk above the median real attempt (%)")
    figure.savefig(path, dpi=150)
