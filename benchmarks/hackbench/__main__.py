"""What reward does junk get? Real GSM8K solutions and adversarial completions, under every preset and component.

    make hackbench            # some minutes on a CPU; QUICK=1: fewer questions and presets, marked as such
    python -m benchmarks.hackbench

A group has three real attempts of different models at a question, and one completion of a class of junk, whose outcome
comes from a numeric verifier. The memory is filled (hundreds of questions, and another attempt at this one) or nearly
empty (two questions). `guarded`'s limits were chosen on the even questions; the odd ones are reported.

Prints one table, draws `reports/hackbench.png` and writes `reports/hackbench.json`.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))

from memr_client import RewardClient
from support.minilm import embed
from support.real_data import Question

from benchmarks.hackbench import figure, table
from benchmarks.hackbench.cases import Case, cases, half
from benchmarks.hackbench.junk import CLASSES, SLY, UNHELD
from benchmarks.hackbench.results import PRESETS, PROMISED, Result, of_components, of_presets, without_each_guard
from benchmarks.hackbench.trial import Bench
from benchmarks.report import FOLDER, Report, Row, quick

REPORTED = 1
"""The half of the questions that was not used to choose limits."""
LARGE, SMALL = (100, 300, 10_000), (30, 60, 120)
"""Numbers of cases, of other questions in a filled memory, and of questions for AUCs."""
BAND = (0.4, 0.6)
"""Allowed range of a component's AUC; outside it, the component leaks the label."""
CHECKED = ("memory-r+", "guarded")


def main() -> None:
    report = Report("hackbench")
    count, known, asked = SMALL if quick() else LARGE
    questions = half(REPORTED)
    chosen = cases(questions, count)
    ours = {case.question for case in chosen}
    others = [one for one in questions if one["question"] not in ours][:known]
    encode(chosen, [*others, *questions[:asked]])
    with RewardClient.embedded() as client:
        bench = Bench(client, chosen, others)
        presets = ("memory-r+", "official-memory-r+", "guarded") if quick() else PRESETS
        results = {}
        for name, result in of_presets(bench, questions[:asked], presets):
            print(f"{name} done", file=sys.stderr)
            results[name] = result
        components = {} if quick() else of_components(bench, questions[:asked])
        parts = [] if quick() else list(without_each_guard(bench))
    print("\n".join([*table.table({**results, **components}), "", *table.leaks(results)]))
    if parts:
        print("\n" + "\n".join(table.ablation(parts)))
    report.rows = rows(results)
    print("\n" + "\n".join(verdict(row) for row in report.rows))
    print(f"\n{report.write()}")
    figure.draw(results, FOLDER / "hackbench.png")


def encode(chosen: list[Case], questions: list[Question]) -> None:
    """Compute all embeddings, once for all presets."""
    texts = [text for one in questions for text in (one["question"], *(made["solution"] for made in one["solutions"]))]
    for case in chosen:
        texts += [case.question, case.earlier["solution"], *(made["solution"] for made in case.fresh)]
        texts += case.junk.values()
    distinct = sorted(set(texts), key=len)
    print(f"encoding {len(distinct)} texts ...", file=sys.stderr)
    embed(distinct)


def rows(results: dict[str, Result]) -> list[Row]:
    """The report's rows, with the floors that `guarded` must meet."""
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
        Row("groups_told_apart_guarded", guarded.speaks, "share"),
    ]


def verdict(row: Row) -> str:
    """A row as one line of text."""
    bound = (
        ""
        if row.floor is None
        else f"{'<=' if row.at_most else '>='} {row.floor:g}  {'holds' if row.holds else 'FAILS'}"
    )
    return f"{row.name:<36}{row.value:>8.4f}  {bound}"


if __name__ == "__main__":
    main()
