"""Does a memory reward help? Methods and controls, trained over seeds and compared seed by seed.

    make experiment             # half an hour on two cores; with QUICK=1 some minutes, four seeds
    make experiment processes=8

An experiment that was interrupted goes on: `reports/experiment/trainings.jsonl` has what has ended (delete it to train
anew after a change of the trainer). What counts was registered in `registered.json` before its seeds were run, and how
the method was found stands in `tried.md`.
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
    arguments.add_argument("--processes", type=int, help="trainings at once; without: one a core")
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
