"""Does planning help? The tiny model on a pool with dead questions: planned trainings beside uniform ones.

    make planning-study                                # hours on two cores; it continues where it was stopped
    python -m benchmarks.planning_study --primary      # only the registered comparison
    python -m benchmarks.planning_study --processes 1

The comparison was registered in `registered.json` before its seeds were run. Finished trainings are kept in
`reports/planning-study/trainings.jsonl`. Prints tables; --publish writes `docs/results/planning-study*.json`, too.
"""

from __future__ import annotations

import os
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from typing import Any

import numpy as np

from benchmarks.experiment.arms import shown
from benchmarks.experiment.pool import run_all
from benchmarks.planning_study import tables
from benchmarks.planning_study.registration import Registration, registered
from benchmarks.planning_study.training import FOLDER, train_one
from benchmarks.published import publish

Training = tuple[str, float, int, int]


def trainings(registration: Registration, primary: bool) -> list[dict[str, Training]]:
    """Two rounds of trainings by key: uniform ones, whose runs are priors, and then the others."""
    arms = [*registration.controls, *registration.methods]
    wanted = [(arm, registration.dead_share, registration.seeds) for arm in arms]
    if primary:
        wanted = [one for one in wanted if one[0] in (registration.controls[0], registration.methods[0])]
    else:
        curve = registration.curve
        wanted += [
            (arm, share, curve.seeds) for share in curve.dead_shares for arm in (*curve.controls, *curve.methods)
        ]
    rounds: list[dict[str, Training]] = [{}, {}]
    for arm, share, seeds in wanted:
        for place, seed in enumerate(seeds):
            other = seeds[(place + 1) % len(seeds)]
            rounds[arm != "uniform"][f"{arm} {share:g} {seed}"] = (arm, share, seed, other)
    return rounds


def show(registration: Registration, found: list[dict[str, Any]]) -> None:
    """Print every training, the means, and the registered comparisons."""
    for row in sorted(found, key=lambda one: (one["dead_share"], one["method"], one["seed"])):
        spread = float(np.mean(row["spread"]))
        print(
            f"{row['dead_share']:g} {row['method']:<10} {row['seed']} area {row['area']:.4f} final {row['final']:.4f} "
            f"groups with spread {spread:.2f}"
        )
    for row in tables.arms(registration, found)["rows"]:
        reaches = "" if row["rollouts"] is None else f", uniform's final after {row['rollouts']:.0%} of the rollouts"
        print(
            f"{row['dead']:g} {row['arm']:<10} n {row['n']}: area {row['area']:.3f}, final {row['final']:.3f}, "
            f"spread {row['spread']:.2f}{reaches}"
        )
    for method, control, result in tables.comparisons(registration, found):
        print(shown(method, control, result))


def main() -> None:
    arguments = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    arguments.add_argument("--primary", action="store_true", help="only the registered comparison")
    arguments.add_argument("--processes", type=int, help="number of trainings at once (default: one per core)")
    arguments.add_argument("--publish", action="store_true", help="write the tables of docs/results")
    asked = arguments.parse_args()
    registration, found = registered(), dict[str, dict[str, Any]]()
    for some in trainings(registration, asked.primary):
        found |= run_all(some, train_one, FOLDER / "trainings.jsonl", asked.processes)
    rows = [*found.values()]
    show(registration, rows)
    if asked.publish:
        seconds = sum(row["seconds"] for row in rows) / (os.cpu_count() or 1)
        made = {"planning-study": tables.arms, "planning-study-comparisons": tables.compared}
        for name, make in made.items():
            publish(name, command="make planning-study", seconds=seconds, **make(registration, rows))


if __name__ == "__main__":
    main()
