"""Results as pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.experiment.methods import METHODS
from benchmarks.experiment.results import Results

SAME = {"figure.dpi": 130, "font.size": 9, "axes.spines.top": False, "axes.spines.right": False}
COLOURS = ("#0b6e4f", "#c8553d", "#3d5a80", "#e0a458", "#8d99ae", "#6d597a", "#495057")


def learning(results: Results, shown: Sequence[str], path: Path) -> None:
    """Left: mean accuracy over the steps with its standard error. Right: final accuracies, in the same colours."""
    with matplotlib.rc_context(SAME):
        figure = Figure(figsize=(9, 3.4), layout="constrained")
        left, right = figure.subplots(1, 2)
        for method, colour in zip(shown, COLOURS, strict=False):
            curves = results.curve(method, "accuracy")
            _band(left, _evaluated(results, method), curves, colour)
            _dots(right, len(shown) - 1 - shown.index(method), results.column(method, "final"), colour)
        left.set(xlabel="step", ylabel="accuracy, held out", ylim=(0, 1), title=f"{results.task}: learning")
        right.set(xlabel="final accuracy, one dot a seed, | the mean", xlim=(-0.02, 1.02), title="final")
        right.set_yticks(range(len(shown)), list(reversed(shown)))
        for name, colour in zip(reversed(right.get_yticklabels()), COLOURS, strict=False):
            name.set_color(colour)
        figure.savefig(path)


def everything(results: Results, path: Path) -> None:
    """Final accuracy of every method and control: one dot per seed, the best mean on top, controls in grey."""
    order = sorted(results.rows, key=lambda method: float(np.mean(results.column(method, "area"))))
    with matplotlib.rc_context(SAME):
        figure = Figure(figsize=(9, 0.3 * len(order) + 1), layout="constrained")
        for axes, measure in zip(figure.subplots(1, 2, sharey=True), ("final", "area"), strict=True):
            for row, method in enumerate(order):
                colour = COLOURS[4] if METHODS[method].is_control else COLOURS[0]
                _dots(axes, row, results.column(method, measure), colour)
            axes.set(xlabel=f"{measure}, one dot a seed, | the mean", xlim=(-0.02, 1.02))
            axes.set_yticks(range(len(order)), order)
        figure.savefig(path)


def collapse(results: Results, shown: Sequence[str], path: Path) -> None:
    """Top: the policy's ways of answering. Bottom: length, diversity, and the memory's share of the advantages."""
    with matplotlib.rc_context(SAME):
        figure = Figure(figsize=(10, 5), layout="constrained")
        above, below = figure.subfigures(2, 1)
        for axes, method in zip(above.subplots(1, len(shown), sharey=True), shown, strict=True):
            rows = list(results.rows[method].values())
            modes = sorted({mode for row in rows for mode in row["modes"]}, reverse=True)
            nothing = [0.0] * len(_steps(results, method))
            shares = {mode: np.mean([row["modes"].get(mode, nothing) for row in rows], axis=0) for mode in modes}
            axes.stackplot(_steps(results, method), list(shares.values()), labels=list(shares), colors=COLOURS)
            axes.set(xlabel="step", ylim=(0, 1))
            axes.set_title(method, fontsize=7, color=COLOURS[shown.index(method)])
        above.axes[0].legend(loc="lower left", fontsize=6)
        titles = {
            "length": "tokens of a completion",
            "diversity": "diversity within a group",
            "format": "format reward",
        }
        for axes, (name, title) in zip(below.subplots(1, 3), titles.items(), strict=True):
            for method, colour in zip(shown, COLOURS, strict=False):
                _band(axes, _steps(results, method), results.curve(method, name), colour)
            axes.set(title=title, xlabel="step", ylim=(0, None))
        figure.savefig(path)


def _evaluated(results: Results, method: str) -> list[int]:
    steps: list[int] = next(iter(results.rows[method].values()))["evaluated"]
    return steps


def _steps(results: Results, method: str) -> range:
    return range(1, results.curve(method, "length").shape[1] + 1)


def _band(axes: Axes, steps: Sequence[int], curves: np.ndarray, colour: str) -> None:
    """Mean of curves (seeds, evaluations) and its standard error."""
    mean, error = curves.mean(0), curves.std(0, ddof=1) / np.sqrt(len(curves))
    axes.plot(steps, mean, color=colour)
    axes.fill_between(steps, mean - error, mean + error, color=colour, alpha=0.15, linewidth=0)


def _dots(axes: Axes, row: int, values: list[float], colour: str) -> None:
    axes.plot(values, [row] * len(values), "o", color=colour, alpha=0.5, markersize=5, markeredgewidth=0)
    axes.plot(np.mean(values), row, "|", color=colour, markersize=14, markeredgewidth=2)
