"""What reward does junk get? Real GSM8K solutions and adversarial completions, under every preset and component.

    make hackbench            # an hour or two on two cores; QUICK=1: fewer questions and presets, marked as such
    python -m benchmarks.hackbench
    python -m benchmarks.hackbench --publish    # and write docs/results/junk*.json and short-answers.json
    python -m benchmarks.hackbench --classes "short noise" "few words"   # the default preset against these; no report

A group has three real attempts of different models at a question, and one completion of a class of junk, whose outcome
comes from a numeric verifier. The memory is filled (hundreds of questions, and another attempt at this one) or nearly
empty (two questions). The limits of `attempts` and `guarded` were chosen on the even questions; the odd ones are
reported. Runs of the default preset as a trainer lives through them, and short answers to sums, follow.

Prints the tables, draws `reports/hackbench.png` and writes `reports/hackbench.json`.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))

from memr_client import RewardClient
from support.real_data import Question

from benchmarks.hackbench import figure, first_steps, published_tables, short_answers, table
from benchmarks.hackbench.cases import cases, half
from benchmarks.hackbench.junk import CLASSES, SIDES, SLY, UNHELD
from benchmarks.hackbench.results import (
    PRESETS,
    PROMISED,
    Result,
    of_classes,
    of_components,
    of_presets,
    without_each_guard,
)
from benchmarks.hackbench.trial import Bench
from benchmarks.published import publish
from benchmarks.report import FOLDER, Report, Row, quick

REPORTED = 1
"""The half of the questions that was not used to choose limits."""
LARGE, SMALL = (300, 300, 10_000), (30, 60, 120)
"""Numbers of cases, of other questions in a filled memory, and of questions for AUCs."""
GROUPS = 4
"""Groups in each of a run's first steps."""
BAND = (0.4, 0.6)
"""Allowed range of a component's AUC; outside it, the component leaks the label."""
DEFAULT = "attempts"
CHECKED = ("memory-r+", "guarded", DEFAULT)
SHOWN = (DEFAULT, "guarded", "memory-r+", "official-memory-r+")
"""Presets that the page about junk compares."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.hackbench")
    parser.add_argument("--classes", nargs="+", choices=[*CLASSES, *SLY], metavar="CLASS", help="only these classes")
    parser.add_argument("--publish", action="store_true", help="write the tables of docs/results; not with QUICK=1")
    asked_for = parser.parse_args()
    classes = asked_for.classes
    if asked_for.publish and (quick() or classes):
        parser.error("--publish needs everything: leave out QUICK and --classes")
    questions = half(REPORTED)
    count, known, asked = SMALL if quick() else LARGE
    chosen = cases(questions, count)
    ours = {case.question for case in chosen}
    others = [one for one in questions if one["question"] not in ours][:known]
    with RewardClient.embedded(store="memory:") as client:
        bench = Bench(client, chosen, others)
        if classes:
            print("\n".join(table.classes(DEFAULT, of_classes(bench, DEFAULT, classes), classes)))
        else:
            _everything(bench, questions, asked, asked_for.publish)


def _everything(bench: Bench, questions: Sequence[Question], asked: int, publishing: bool) -> None:
    """All tables, the picture and the report."""
    started = time.perf_counter()
    report = Report("hackbench")
    presets = ("memory-r+", "official-memory-r+", "guarded", DEFAULT) if quick() else PRESETS
    results = {}
    for name, result in of_presets(bench, questions[:asked], presets):
        print(f"{name} done", file=sys.stderr)
        results[name] = result
    components = {} if quick() else of_components(bench, questions[:asked])
    parts = [] if quick() else list(without_each_guard(bench, DEFAULT))
    begun = {
        DEFAULT: first_steps.beginning(bench, DEFAULT, questions, GROUPS),
        "all wrong": first_steps.beginning(bench, DEFAULT, first_steps.all_wrong(questions), GROUPS),
        "guarded": first_steps.beginning(bench, "guarded", questions, GROUPS),
    }
    sums = {name: short_answers.rejected(bench, name) for name in (DEFAULT, "guarded")}
    sent = bench.rejected_if_sent(DEFAULT, questions[:asked])
    print("\n".join([*table.table({**results, **components}), "", *table.leaks(results)]))
    if parts:
        print("\n" + "\n".join(table.ablation(DEFAULT, parts)))
    print("\n" + "\n".join(table.beginnings(begun)))
    print("\n" + "\n".join(table.short_answers(sums)))
    report.rows = [
        *demands(results[DEFAULT], sums[DEFAULT], sent),
        Row(f"groups_that_differ_first_steps_{DEFAULT}", begun[DEFAULT].apart, "share"),
        Row(f"groups_that_differ_first_steps_all_wrong_{DEFAULT}", begun["all wrong"].apart, "share"),
        *rows(results),
    ]
    print("\n" + "\n".join(verdict(row) for row in report.rows))
    print(f"\n{report.write()}")
    figure.draw(results, FOLDER / "hackbench.png")
    if publishing:
        shown = {name: results[name] for name in SHOWN}
        runs = {
            f"`{DEFAULT}`": begun[DEFAULT],
            f"`{DEFAULT}`, questions that all get wrong": begun["all wrong"],
            "`guarded`": begun["guarded"],
        }
        seconds = time.perf_counter() - started
        for name, made in published_tables.tables(shown, parts, runs, sums, len(bench.cases)):
            publish(name, command="make hackbench", seconds=seconds, **made)


def demands(result: Result, sums: Mapping[tuple[str, str], float], sent: float) -> Iterator[Row]:
    """The floors that the default preset must meet, and what it does beside them.

    Args:
        sums: share of short answers that it rejects, by wording and side.
        sent: share of real attempts that it rejects when another encoder's embeddings are sent.
    """
    for side, floor in (("no attempt", 0.02), ("wrong attempt", None), ("right answer with junk", None)):
        name = f"{side.replace(' ', '_')}_above_median_{DEFAULT}_max"
        yield Row(name, result.worst(SIDES[side]), "share", floor, at_most=True)
    yield Row(f"real_rejected_{DEFAULT}", result.rejected, "share", 0.005, at_most=True)
    yield Row(f"groups_that_differ_{DEFAULT}", result.speaks, "share", 0.95)
    yield Row(f"groups_that_differ_all_wrong_{DEFAULT}", result.speaks_of_wrong, "share")
    yield Row(f"right_first_{DEFAULT}", result.right_first, "share", 0.99)
    yield Row(f"spread_mixed_{DEFAULT}_max", result.spreads[0], "of outcomes'", 0.5, at_most=True)
    yield Row(f"spread_equal_{DEFAULT}_max", result.spreads[1], "reward", 0.5, at_most=True)
    yield Row(f"spread_kept_{DEFAULT}", result.kept_after(PROMISED), "share", 0.8)
    answers = [share for (_, side), share in sums.items() if side != "none"]
    yield Row(f"short_answers_rejected_{DEFAULT}_max", max(answers), "share", 0.05, at_most=True)
    yield Row(f"sent_rejected_{DEFAULT}", sent, "share", 0.005, at_most=True)


def rows(results: dict[str, Result]) -> list[Row]:
    """The other rows, with the floors that `guarded` must meet."""
    guarded, official = results["guarded"], results["official-memory-r+"]
    explore, exploit = (
        [one for name in CHECKED for one in results[name].aucs[part].values()] for part in ("explore", "exploit")
    )
    return [
        Row("junk_above_median_guarded_max", guarded.worst([*CLASSES]), "share", 0.02, at_most=True),
        Row("real_rejected_guarded", guarded.rejected, "share", 0.005, at_most=True),
        Row("spread_kept_guarded", guarded.kept_after(PROMISED), "share", 0.8),
        Row("auc_explore_min", min(explore), "AUC", BAND[0]),
        Row("auc_explore_max", max(explore), "AUC", BAND[1], at_most=True),
        Row("auc_exploit_min", min(exploit), "AUC", 0.5),
        Row("auc_explore_official", official.aucs["explore"]["all"], "AUC", 0.995),
        Row("junk_above_median_paper_max", results["memory-r+"].worst([*CLASSES]), "share"),
        Row("sly_junk_held_above_median_guarded_max", guarded.worst([*SLY.keys() - {*UNHELD}]), "share"),
        Row("sly_junk_unheld_above_median_guarded_max", guarded.worst(UNHELD), "share"),
        Row("groups_that_differ_guarded", guarded.speaks, "share"),
    ]


def verdict(row: Row) -> str:
    """A row as one line of text."""
    bound = (
        ""
        if row.floor is None
        else f"{'<=' if row.at_most else '>='} {row.floor:g}  {'holds' if row.holds else 'FAILS'}"
    )
    return f"{row.name:<48}{row.value:>8.4f}  {bound}"


if __name__ == "__main__":
    main()
