"""Does repairing wrong labels help? The tiny model on 64 questions of which some have wrong labels.

    make repair-study                                # hours on two cores; it continues where it was stopped
    python -m benchmarks.repair_study --primary      # only the registered comparison
    python -m benchmarks.repair_study --registered   # all arms with the registered noise
    python -m benchmarks.repair_study --processes 1

The comparisons were registered in `registered.json` before their seeds were run. Finished trainings are kept in
`reports/repair-study/trainings.jsonl`. Prints tables; --publish writes `docs/results/repair-study*.json`, too.
"""

from __future__ import annotations

from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Sequence

from benchmarks.experiment.arms import of_arm, publish_study, shown
from benchmarks.experiment.pool import read, run_all
from benchmarks.published import Row
from benchmarks.repair_study import tables
from benchmarks.repair_study.labels import Kind
from benchmarks.repair_study.registration import Registration, registered
from benchmarks.repair_study.training import FOLDER, Training, train_one

KEPT = FOLDER / "trainings.jsonl"


WITHOUT_LABELS = ("clean", "ttrl")
"""Arms whose trainings are the same whatever the labels are: they go by the right ones, or by none."""
AS_THE_LABELS_ARE = ("none", "corrected")
"""Arms that are `clean` where no label is wrong: there is nothing to correct either."""


def trainings(registration: Registration, arms: Sequence[str], noise: float, kind: Kind) -> dict[str, Training]:
    """Trainings by key, seed by seed; those that `finished` knows from others are left out."""
    first = (noise, kind) == registration.conditions[0]
    known = {"placebo", *(() if first else WITHOUT_LABELS), *(() if noise else AS_THE_LABELS_ARE)}
    return {
        f"{arm} {noise:g} {kind} {seed}": Training(arm, noise, kind, seed)
        for seed in registration.seeds
        for arm in arms
        if arm not in known
    }


def finished() -> list[Row]:
    """The rows of all trainings that are finished, and of those that are the same under other labels."""
    rows = [*read(KEPT).values()]
    begun = {(row["noise"], row["kind"]) for row in rows}
    own = {(row["method"], row["noise"], row["kind"], row["seed"]) for row in rows}
    for row in [one for one in rows if one["method"] in WITHOUT_LABELS]:
        for noise, kind in begun:
            same = [row["method"], *(AS_THE_LABELS_ARE if row["method"] == "clean" and not noise else ())]
            for arm in same:
                if (arm, noise, kind, row["seed"]) not in own:
                    own.add((arm, noise, kind, row["seed"]))
                    rows.append(row | {"method": arm, "noise": noise, "kind": kind, "seconds": 0.0})
    return rows


def placebos(registration: Registration, found: Sequence[Row], noise: float, kind: Kind) -> dict[str, Training]:
    """The placebo beside each finished training that repairs."""
    return {
        f"placebo {noise:g} {kind} {row['seed']}": Training("placebo", noise, kind, row["seed"], tuple(row["repaired"]))
        for row in of_arm(found, "repair", registration.seeds, noise=noise, kind=kind)
    }


def show(registration: Registration, found: list[Row]) -> None:
    """Print every training, the means, and the comparisons."""
    for row in sorted(found, key=lambda one: (one["noise"], one["kind"], one["method"], one["seed"])):
        print(
            f"{row['noise']:g} {row['kind']:<10} {row['method']:<9} {row['seed']} area {row['area']:.4f} "
            f"final {row['final']:.4f} repaired {sum(row['repaired'])}, of them wrong {sum(row['rightly'])}"
        )
    for row in tables.arms(registration, found)["rows"]:
        print(
            f"{row['noise']:g} {row['kind']:<10} {row['arm']:<9} n {row['n']}: area {row['area']:.3f}, final "
            f"{row['final']:.3f}, repaired {row['repaired']:.1f}"
        )
    for noise, kind in registration.conditions:
        for comparison in tables.comparisons(registration, found, noise, kind):
            print(f"{noise:g} {kind}: {shown(*comparison)}")


def main() -> None:
    arguments = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    arguments.add_argument("--primary", action="store_true", help="only the registered comparison")
    arguments.add_argument("--registered", action="store_true", help="all arms, with the registered noise only")
    arguments.add_argument("--finished", action="store_true", help="no training: the tables of those that are finished")
    arguments.add_argument("--processes", type=int, help="number of trainings at once (default: one per core)")
    arguments.add_argument("--publish", action="store_true", help="write the tables of docs/results")
    asked = arguments.parse_args()
    registration = registered()
    if not asked.finished:
        only = asked.primary or asked.registered
        for noise, kind in registration.conditions[: 1 if only else None]:
            arms = registration.pairs[0] if asked.primary else registration.arms
            run_all(trainings(registration, arms, noise, kind), train_one, KEPT, asked.processes)
            if not asked.primary:
                run_all(placebos(registration, finished(), noise, kind), train_one, KEPT, asked.processes)
    rows = finished()
    show(registration, rows)
    if asked.publish:
        makers = {"repair-study": tables.arms, "repair-study-comparisons": tables.compared}
        publish_study({name: make(registration, rows) for name, make in makers.items()}, "make repair-study", rows)


if __name__ == "__main__":
    main()
