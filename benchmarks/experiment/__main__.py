"""Does a memory reward help? Methods and controls, trained over seeds and compared seed by seed.

    make experiment             # half an hour on two cores; with QUICK=1 some minutes, four seeds
    make experiment processes=8

An interrupted experiment continues from `reports/experiment/trainings.jsonl`, which holds the finished trainings
(delete it after a change of the trainer). The comparisons were registered in `registered.json` before their seeds were
run. `tried.md` tells how the methods were found.
"""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path

from benchmarks.experiment import figures
from benchmarks.experiment.document import document, measured
from benchmarks.experiment.plan import OTHERS, SECOND, trainings
from benchmarks.experiment.pool import run_all
from benchmarks.experiment.registration import registered
from benchmarks.experiment.results import Results
from benchmarks.experiment.training import train_one
from benchmarks.report import Report, Row, quick

FOLDER = Path("reports/experiment")


def main() -> None:
    arguments = ArgumentParser(description=__doc__.partition("\n")[0])
    arguments.add_argument("--processes", type=int, help="number of trainings at once (default: one per core)")
    processes = arguments.parse_args().processes
    report, registration = Report("experiment"), registered()
    rows = run_all(trainings(registration, quick()), train_one, FOLDER / "trainings.jsonl", processes).values()
    first, second = (Results.of(task, rows) for task in (registration.task, SECOND))
    shown = registration.everyone
    figures.learning(first, shown, FOLDER / "learning.png")
    figures.everything(first.on(registration.seeds[:OTHERS]), FOLDER / "everything.png")
    figures.collapse(first, shown, FOLDER / "collapse.png")
    text = document(registration, first, second, quick())
    (FOLDER / "report.md").write_text(text, encoding="utf-8")
    print(text)
    for name, value in measured(registration, [first, second]).items():
        report.rows.append(Row(name, value, "accuracy", floor=0.0 if name.endswith("interval_low") else None))
    report.rows.append(Row("reward_share", max(row["reward_share"] for row in rows), "of a step", 0.25, at_most=True))
    print(report.write())


if __name__ == "__main__":
    main()
