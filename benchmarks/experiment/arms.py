"""The arms of a study: what a training reports, paired comparisons over the seeds, and their tables."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.experiment.compare import Comparison, compare
from benchmarks.published import Row, Table, publish, table
from examples.grpo.train import Result

Pair = tuple[str, str]
"""A method and a control."""


def learned(result: Result) -> Row:
    """How accurate a training's policy became: at the end, over the steps, and at each evaluation."""
    return {
        "final": round(result.accuracy, 4),
        "area": round(result.area, 4),
        "evaluated": [step for step, _ in result.curve],
        "accuracy": [round(accuracy, 4) for _, accuracy in result.curve],
    }


def of_arm(found: Sequence[Row], arm: str, seeds: Sequence[int], **where: Any) -> list[Row]:
    """An arm's finished trainings with these seeds and values, by seed."""
    wanted = {"method": arm, **where}
    own = [one for one in found if one["seed"] in seeds and all(one[name] == value for name, value in wanted.items())]
    return sorted(own, key=lambda one: int(one["seed"]))


def comparisons(
    found: Sequence[Row], pairs: Sequence[Pair], measure: str, seeds: Sequence[int], **where: Any
) -> Iterator[tuple[str, str, Comparison]]:
    """Each method minus its control, where both have all of the seeds; corrected for the number of pairs."""
    for pair in pairs:
        columns = [[one[measure] for one in of_arm(found, arm, seeds, **where)] for arm in pair]
        if len(columns[0]) == len(columns[1]) == len(seeds):
            yield *pair, compare(*columns, comparisons=len(pairs))


def compared(title: str, measure: str, results: Iterator[tuple[str, str, Comparison]]) -> Table:
    """One row for each comparison."""
    rows = [
        {
            "method": method,
            "control": control,
            "seeds": one.seeds,
            "difference": round(one.difference, 4),
            "low": round(one.low, 4),
            "high": round(one.high, 4),
            "p": one.p,
            "holds": "yes" if one.holds else "no",
        }
        for method, control, one in results
    ]
    cells = {
        "method minus control": "`{method}` - `{control}`",
        "seeds": "{seeds}",
        f"difference of the {measure}": "{difference:+.3f}",
        "interval": "[{low:+.3f}, {high:+.3f}]",
        "p": "{p:.4f}",
        "holds": "{holds}",
    }
    return table(title, cells, rows)


def shown(method: str, control: str, result: Comparison) -> str:
    """A comparison as a line."""
    return (
        f"{method} - {control}: {result.difference:+.3f} [{result.low:+.3f}, {result.high:+.3f}], "
        f"p {result.p:.3f}, {'holds' if result.holds else 'does not hold'}, {result.seeds} seeds"
    )


def measured(own: Sequence[Row]) -> Row:
    """What every table says of an arm's finished trainings: their seeds, the mean measures, and the area of each."""
    return {
        "seeds": [one["seed"] for one in own],
        "n": len(own),
        **{name: mean(own, name) for name in ("area", "final")},
        "each": [one["area"] for one in own],
    }


def publish_study(made: Mapping[str, Table], command: str, found: Sequence[Row]) -> None:
    """Publish a study's tables, by name, with the time that its trainings take on all cores."""
    seconds = sum(row["seconds"] for row in found) / (os.cpu_count() or 1)
    for name, one in made.items():
        publish(name, command=command, seconds=seconds, **one)


def mean(rows: Sequence[Row], name: str) -> float:
    """The mean of a measure, or of a series, over trainings."""
    return round(float(np.mean([np.mean(one[name]) for one in rows])), 4)
