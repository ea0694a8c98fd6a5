"""Which audits fire in trainings that fall into a trap, at which step, and which in trainings that learn?

    make audits              # 16 trainings of about half a minute each; with QUICK=1: six
    make audits processes=8

Trains the tiny model of `examples/grpo` on its task `clock`, where plain GRPO (`r1`) may converge to well-formed
guesses, and audits the run after every second step. Trainings without a memory are watched by one with weight 0.
Finished trainings are kept in `reports/audits`. The thresholds were chosen on seeds 300 to 303.
"""

from __future__ import annotations

from argparse import ArgumentParser
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from memr_client import RewardClient
from memr_client.schemas import Audits
from rich.console import Console
from rich.table import Table

from benchmarks.experiment.methods import EXPLORE, fields
from benchmarks.experiment.pool import run_all
from benchmarks.report import Report, Row, quick
from examples.grpo.config import Config
from examples.grpo.train import train

FOLDER = Path("reports/audits")
TRAININGS = {"r1": range(400, 404), "memory-r": range(400, 404), "r1-gated-entropy": range(400, 408)}
"""Method of `benchmarks.experiment` -> its seeds. The first two may fall into the trap, the third avoids it."""
WATCHING = {"memory": {"preset": "memory-r+", **EXPLORE, "memory_weight": 0.0}, "memory_weight": 0.0}
WINDOW = 1024
"""Completions in an audited stretch: 8 of the 60 steps."""
EVERY = 2


@dataclass(frozen=True)
class Watched:
    """A training and its audits after every second step."""

    method: str
    seed: int
    outcomes: list[float]
    """Mean outcome of the newest stretch at each audit."""
    alarms: dict[str, int]
    """Audit -> step of its first alarm."""
    warnings: dict[str, int]
    """Audit -> step of its first warning or alarm."""


def config(method: str, seed: int) -> dict[str, Any]:
    """The training's settings, as fields of `Config`."""
    asked = fields(method, "clock", seed)
    watching = {} if asked["memory"] else WATCHING
    return {**asked, **watching, "output": str(FOLDER / f"{method}-{seed}")}


def train_one(asked: dict[str, Any]) -> dict[str, Any]:
    """Train, and keep the run's journal in the training's folder."""
    return {"accuracy": train(Config(**asked)).accuracy}


def watched(method: str, seed: int) -> Watched:
    """Audit a training as of each of its steps."""
    store = f"sqlite:///{FOLDER / f'{method}-{seed}' / 'memory'}"
    with RewardClient.embedded(store, run="grpo", audits={"window": WINDOW}) as client:
        looks = [client.audits(at=row.position) for row in client.history()[EVERY - 1 :: EVERY]]
    outcomes = [look.recent.outcome for look in looks if look.recent is not None]
    return Watched(method, seed, outcomes, first(looks, "alarm"), first(looks, "alarm", "warn"))


def first(looks: Iterable[Audits], *states: str) -> dict[str, int]:
    """Audit -> the first step at which it was in one of these states."""
    found: dict[str, int] = {}
    for number, look in enumerate(looks, 1):
        for one in look.audits:
            if one.state in states:
                found.setdefault(one.name, EVERY * number)
    return found


def each(found: list[Watched]) -> Table:
    """A line for each training: its first alarms and their steps."""
    shown = Table("method", "seed", "outcome", "alarms, each with its first step", title="Trainings")
    for one in found:
        in_order = sorted(one.alarms.items(), key=lambda told: told[1])
        curve = f"{one.outcomes[3]:.2f} {one.outcomes[len(one.outcomes) // 2]:.2f} {one.outcomes[-1]:.2f}"
        shown.add_row(one.method, str(one.seed), curve, ", ".join(f"{name} {step}" for name, step in in_order) or "-")
    shown.caption = f"outcome: of the first stretch ({WINDOW} completions), in the middle, and of the last."
    return shown


def together(found: list[Watched]) -> Table:
    """A line for each audit: the number of trainings of a method in which it alarmed, and in which it warned."""
    shown, columns = Table("audit", title="Trainings in which it alarmed (at least warned)"), []
    for method in TRAININGS:
        mine = [one for one in found if one.method == method]
        shown.add_column(f"{method}, {len(mine)}", justify="right")
        columns.append((counted(one.alarms for one in mine), counted(one.warnings for one in mine)))
    names = sorted(set().union(*(warned for _, warned in columns)) - {"any"})
    for name in ("any", *names):
        shown.add_row(name, *(f"{alarmed[name]} ({warned[name]})" for alarmed, warned in columns))
    return shown


def counted(trainings: Iterable[dict[str, int]]) -> Counter[str]:
    """Audit -> number of trainings in which it fired; `any`: trainings in which one or more fired."""
    return Counter(name for told in trainings for name in (*told, *(["any"] if told else [])))


def main() -> None:
    arguments = ArgumentParser(description=__doc__.partition("\n")[0])
    arguments.add_argument("--processes", type=int, help="number of trainings at once (default: one per core)")
    processes = arguments.parse_args().processes
    report = Report("audits")
    trainings = [(method, seed) for method, seeds in TRAININGS.items() for seed in (seeds[:2] if quick() else seeds)]
    configs = {f"{method} {seed}": config(method, seed) for method, seed in trainings}
    run_all(configs, train_one, FOLDER / "trainings.jsonl", processes)
    found = [watched(method, seed) for method, seed in trainings]
    Console().print(each(found), together(found))
    for method in TRAININGS:
        alarmed = [bool(one.alarms) for one in found if one.method == method]
        report.rows.append(Row(f"alarmed/{method}", sum(alarmed) / len(alarmed), "of the trainings"))
    print(report.write())


if __name__ == "__main__":
    main()
