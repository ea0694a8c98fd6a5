"""Results of the trainings: one row each, by task, method and seed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.experiment.methods import METHODS

MEASURES = ("final", "area")
"""final: accuracy on held-out questions after the last step. area: mean accuracy over all steps."""


@dataclass(frozen=True)
class Results:
    """Rows of one task. Methods are in the order of `METHODS`, seeds ascend."""

    task: str
    rows: dict[str, dict[int, dict[str, Any]]]
    """Method -> seed -> row of `training.train_one`."""

    @classmethod
    def of(cls, task: str, rows: Iterable[dict[str, Any]]) -> Results:
        """The results of one task."""
        found: dict[str, dict[int, dict[str, Any]]] = {}
        for row in rows:
            if row["task"] == task:
                found.setdefault(row["method"], {})[row["seed"]] = row
        return cls(task, {method: dict(sorted(found[method].items())) for method in METHODS if method in found})

    def on(self, seeds: Sequence[int]) -> Results:
        """The results on these seeds, for the methods that have all of them."""
        found = {
            method: {seed: rows[seed] for seed in seeds}
            for method, rows in self.rows.items()
            if rows.keys() >= set(seeds)
        }
        return Results(self.task, found)

    def column(self, method: str, measure: str, seeds: Iterable[int] | None = None) -> list[float]:
        """A measure over `seeds`; by default over all seeds of the method."""
        rows = self.rows[method]
        return [rows[seed][measure] for seed in (rows if seeds is None else seeds)]

    def shared(self, one: str, other: str) -> list[int]:
        """Seeds of both methods."""
        return [seed for seed in self.rows[one] if seed in self.rows[other]]

    def curve(self, method: str, name: str) -> np.ndarray:
        """A row's series, for all seeds: (seeds, evaluations)."""
        return np.array([row[name] for row in self.rows[method].values()], float)
