"""Does planning help? The tiny model on a pool with dead questions: planned trainings beside uniform ones.

    make planning-study                                       # many hours on two cores; it continues where it stopped
    python -m benchmarks.planning_study --only controls --processes 1
    python -m benchmarks.planning_study --only dead --arms uniform prior     # the primary comparison

The parts: `dead`, `curve`, `controls` and `small-groups` (`dead.json`), `reasoning-gym` (`reasoning_gym.json`), which
needs `pip install reasoning-gym`, and `mixed` (`registered.json`). Each list was written before its seeds were run.
Finished trainings are kept in `reports/planning-study/trainings.jsonl`. Prints tables; --publish writes
`docs/results/planning-study*.json`, too.
"""

from __future__ import annotations

from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from typing import Any

from benchmarks.experiment.arms import publish_study, shown
from benchmarks.experiment.pool import run_all
from benchmarks.planning_study import tables
from benchmarks.planning_study.arms import ARMS
from benchmarks.planning_study.calibration import foreseen
from benchmarks.planning_study.registration import Part, parts
from benchmarks.planning_study.training import FOLDER, Training, train_one
from benchmarks.published import Row, Table

Rows = Sequence[Row]
Maker = Callable[[Mapping[str, Part], Rows], Table]
"""Makes a table of the parts and of what is finished."""


def trainings(chosen: Sequence[Part], arms: Sequence[str] | None = None) -> list[dict[str, Training]]:
    """Two rounds of trainings by key: those whose runs are priors, and then the others.

    Args:
        arms: only these, and those that they start from. Default: all.
    """
    rounds: list[dict[str, Training]] = [{}, {}]
    for part in chosen:
        for pool in part.pools:
            for arm in part.arms:
                for seed in part.seeds if arms is None or arm in arms else ():
                    training = Training(arm, pool, seed, part.other(seed))
                    teacher = training.teacher
                    if teacher is not None:
                        rounds[0][teacher.key] = teacher
                    rounds[teacher is not None].setdefault(training.key, training)
    return rounds


def show(chosen: Mapping[str, Part], found: Rows) -> None:
    """Print every training, the means, and the comparisons of each part."""
    for row in sorted(found, key=lambda one: (str(one["dead_share"]), one["method"], one["seed"])):
        print(f"{row['dead_share']} {row['method']:<12} {row['seed']} area {row['area']:.4f} final {row['final']:.4f}")
    for name, part in chosen.items():
        for row in tables.arms([part], found, name)["rows"]:
            reaches = (
                "" if row["rollouts"] is None else f", uniform's final after {row['rollouts']:.0%} of the rollouts"
            )
            print(
                f"{name}: {row['dead']} {row['arm']:<12} n {row['n']}: area {row['area']:.3f}, "
                f"final {row['final']:.3f}, spread {row['spread']:.2f}{reaches}"
            )
        for comparison in tables.comparisons(part, found):
            print(f"{name}: {shown(*comparison)}")


def of_part(name: str, part: str, arms: str, compared: str, *more: str) -> dict[str, Maker]:
    """Two tables by name: the arms of a part (and of `more` parts), and its comparisons, under these titles."""
    return {
        name: lambda of, found: tables.arms([of[one] for one in (part, *more)], found, f"{arms}: {EACH}"),
        f"{name}-comparisons": lambda of, found: tables.compared(of[part], found, compared),
    }


EACH = "means over the seeds, and the area of each"
PUBLISHED: dict[str, Maker] = {
    **of_part(
        "planning-study", "dead",
        "Planning on pools with dead questions", "Paired comparisons with 60% dead questions", "curve",
    ),
    "planning-study-calibration": lambda of, found: foreseen(
        [of["dead"], of["curve"]], "What pass rates foresaw of the spread of uniform trainings' groups"
    ),
    **of_part(
        "planning-study-small-groups", "small-groups", "Planning in groups of 4", "Paired comparisons in groups of 4"
    ),
    **of_part(
        "planning-study-controls", "controls",
        "Other ways to choose, with 60% dead questions", "Exploratory comparisons with 60% dead questions",
    ),
    **of_part(
        "planning-study-reasoning-gym", "reasoning-gym",
        "Planning on reasoning-gym's sums", "Exploratory comparisons on reasoning-gym's sums",
    ),
    **of_part(
        "planning-study-mixed", "mixed", "Planning on the mixed pool", "Paired comparisons on the mixed pool"
    ),
}  # fmt: skip
"""Tables of `docs/results`, by name. Those without rows are not written."""


def main() -> None:
    everything = parts()
    arguments = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    arguments.add_argument("--only", nargs="+", choices=everything, help="only these parts", metavar="PART")
    arguments.add_argument("--arms", nargs="+", choices=ARMS, help="only these arms, and what they need", metavar="ARM")
    arguments.add_argument("--processes", type=int, help="number of trainings at once (default: one per core)")
    arguments.add_argument("--publish", action="store_true", help="write the tables of docs/results")
    asked = arguments.parse_args()
    names = asked.only or [*everything]
    if asked.only is None and find_spec("reasoning_gym") is None:
        print("Without the part reasoning-gym: `pip install reasoning-gym`.")
        names.remove("reasoning-gym")
    chosen, found = {name: everything[name] for name in names}, dict[str, dict[str, Any]]()
    for some in trainings([*chosen.values()], asked.arms):
        found |= run_all(some, train_one, FOLDER / "trainings.jsonl", asked.processes)
    rows = [*found.values()]
    show(chosen, rows)
    if asked.publish:
        made = {name: make(everything, rows) for name, make in PUBLISHED.items()}
        publish_study({name: table for name, table in made.items() if table["rows"]}, "make planning-study", rows)


if __name__ == "__main__":
    main()
