"""Does the default preset hurt? Plain GRPO with it and without it, on the same seeds.

    python -m benchmarks.experiment.default_preset              # ten minutes on two cores
    python -m benchmarks.experiment.default_preset --processes 1

The comparison was registered in `registered_default.json` before its seeds were run: the mean area may not be lower
than plain GRPO's by more than the margin. Finished trainings are kept in `reports/default-preset/trainings.jsonl`.
"""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict

from benchmarks.experiment.compare import LEVEL, interval
from benchmarks.experiment.methods import METHODS
from benchmarks.experiment.plan import keyed
from benchmarks.experiment.pool import run_all
from benchmarks.experiment.training import train_one
from benchmarks.report import Report, Row

FILE = Path(__file__).with_name("registered_default.json")
KEPT = Path("reports/default-preset/trainings.jsonl")
CHANGES: dict[str, dict[str, Any]] = {
    "attempts": {"memory": "attempts"},
    "attempts-equal": {"memory": {"preset": "attempts", "equal_spread": 0.25}},
    "r1": METHODS["r1"].changes,
}
"""Method -> its differences from plain GRPO, as fields of `examples.grpo.config.Config`."""


class Registration(BaseModel):
    """Methods, control, seeds, measure and margin. The first method decides."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    task: str
    methods: list[str]
    control: str
    measure: str
    seeds: list[int]
    margin: float
    test: str


def registered() -> Registration:
    """Read the registration."""
    return Registration.model_validate_json(FILE.read_text())


def trainings(registration: Registration) -> dict[str, Any]:
    """Key -> arguments of `train_one`, seed by seed."""
    plain = {"model": "tiny", "task": registration.task, "memory": None}
    return dict(
        keyed(method, {**plain, "seed": seed, **CHANGES[method]})
        for seed in registration.seeds
        for method in (registration.control, *registration.methods)
    )


def rows(registration: Registration, found: list[dict[str, Any]]) -> list[Row]:
    """Each method's final accuracy and area, and what it is below or above the control."""
    means, columns = [], {}
    for method in (registration.control, *registration.methods):
        own = sorted((row for row in found if row["method"] == method), key=lambda row: row["seed"])
        columns[method] = np.array([row[registration.measure] for row in own])
        for measure in ("final", "area"):
            values = np.array([row[measure] for row in own])
            means.append(Row(f"{registration.task}/{method}/{measure}", float(values.mean()), "accuracy"))
    for number, method in enumerate(registration.methods):
        difference = columns[method] - columns[registration.control]
        name, floor = f"{registration.task}/{method}/difference", None if number else -registration.margin
        low, high = interval(difference, LEVEL)
        means.append(Row(name, float(difference.mean()), registration.measure, floor))
        means += [Row(f"{name}_low", low, registration.measure), Row(f"{name}_high", high, registration.measure)]
    return means


def main() -> None:
    arguments = ArgumentParser(description=__doc__.partition("\n")[0])
    arguments.add_argument("--processes", type=int, help="number of trainings at once (default: one per core)")
    processes = arguments.parse_args().processes
    report, registration = Report("default-preset"), registered()
    found = run_all(trainings(registration), train_one, KEPT, processes)
    report.rows = rows(registration, list(found.values()))
    for row in report.rows:
        print(f"{row.name:<36}{row.value:>8.4f}  {'' if row.holds is None else 'holds' if row.holds else 'FAILS'}")
    for row in sorted(found.values(), key=lambda one: (one["seed"], one["method"])):
        print(f"{row['seed']} {row['method']:<16} area {row['area']:.4f} final {row['final']:.4f}")
    print(report.write())


if __name__ == "__main__":
    main()
