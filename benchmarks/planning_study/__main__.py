"""Does planning help? The tiny model on a pool with dead questions: planned trainings beside uniform ones.

    make planning-study                                # hours on two cores; it continues where it was stopped
    python -m benchmarks.planning_study --primary      # only the registered comparison
    python -m benchmarks.planning_study --processes 1

The comparison was registered in `registered.json` before its seeds were run. Finished trainings are kept in
`reports/planning-study/trainings.jsonl`. Prints tables, and writes `docs/results/planning-study.json` with --publish.
"""

from __future__ import annotations

from argparse import ArgumentParser, RawDescriptionHelpFormatter
from typing import Any

import numpy as np

from benchmarks.experiment.compare import compare
from benchmarks.experiment.pool import run_all
from benchmarks.planning_study.registration import Registration, registered
from benchmarks.planning_study.training import FOLDER, train_one

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
    columns: dict[tuple[float, str], np.ndarray] = {}
    for share, method in sorted({(row["dead_share"], row["method"]) for row in found}):
        own = sorted((one for one in found if (one["dead_share"], one["method"]) == (share, method)), key=_seed)
        columns[share, method] = np.array([one[registration.measure] for one in own])
        means = [np.mean([one[name] for one in own]) for name in ("area", "final", "spread")]
        print(
            f"\n{share:g} {method:<10} n {len(own)}: area {means[0]:.3f}, final {means[1]:.3f}, spread {means[2]:.2f}",
            end="",
        )
    print()
    pairs = [(method, control) for method in registration.methods for control in registration.controls]
    for method, control in pairs:
        one, other = (columns.get((registration.dead_share, name)) for name in (method, control))
        if one is not None and other is not None and len(one) == len(other) > 1:
            result = compare(one, other, comparisons=len(pairs))
            print(
                f"{method} - {control}: {result.difference:+.3f} [{result.low:+.3f}, {result.high:+.3f}], "
                f"p {result.p:.3f}, {'holds' if result.holds else 'does not hold'}, {result.seeds} seeds"
            )
    needed = share_of_rollouts(registration, found)
    if needed is not None:
        print(f"rollouts to uniform's final accuracy, on the mean curve: {needed:.0%}")


def share_of_rollouts(registration: Registration, found: list[dict[str, Any]]) -> float | None:
    """The share of its steps after which the first method's mean curve reaches the first control's final accuracy."""
    curves = {}
    for name in (registration.methods[0], registration.controls[0]):
        own = [one for one in found if (one["dead_share"], one["method"]) == (registration.dead_share, name)]
        if not own:
            return None
        curves[name] = np.mean([one["accuracy"] for one in own], axis=0)
    evaluated = next(one["evaluated"] for one in found if one["dead_share"] == registration.dead_share)
    reached = curves[registration.methods[0]] >= curves[registration.controls[0]][-1]
    return float(evaluated[int(np.argmax(reached))] / evaluated[-1]) if reached.any() else None


def _seed(row: dict[str, Any]) -> int:
    return int(row["seed"])


def main() -> None:
    arguments = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    arguments.add_argument("--primary", action="store_true", help="only the registered comparison")
    arguments.add_argument("--processes", type=int, help="number of trainings at once (default: one per core)")
    asked = arguments.parse_args()
    registration, found = registered(), dict[str, dict[str, Any]]()
    for some in trainings(registration, asked.primary):
        found |= run_all(some, train_one, FOLDER / "trainings.jsonl", asked.processes)
    show(registration, [*found.values()])


if __name__ == "__main__":
    main()
