"""How well do four models' answers find wrong references? GSM8K's test questions, with references changed on purpose.

    make suspects                          # a minute or two; QUICK=1: fewer draws, printed and not published
    python -m benchmarks.suspects --fit    # only the weights of memr_service.insight.suspects, fitted again

References are changed in 5, 10 or 20 % of the questions, by +1 to +9 or to an answer that a model gave, in 20 draws.
Each probability comes from weights that were fitted without its question, to other draws. Also: answers in other forms,
which verifiers miss; and the strongest suspects in the data as they are, each solved again (`verdicts.json`).

Writes `docs/results/suspects*.json`.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))

from benchmarks.published import publish
from benchmarks.report import quick
from benchmarks.suspects import tables
from benchmarks.suspects.fit import DRAWS, NAMES, PUBLISHED, Fit
from benchmarks.suspects.gsm8k import questions
from docs.generate.markdown import table
from docs.generate.results import Cell

COUNT = 20
"""Draws that are scored."""
FOR_MODELS = 5
"""Draws that are scored with each choice of models."""
TITLES = {
    "suspects": "References of GSM8K's 1,319 test questions that were changed, and what four models' answers find: "
    f"means over {COUNT} draws, each question held out",
    "suspects-agreement": "10 % changed by +1 to +9, by how many models agree on another answer; the rule accuses if "
    "at least so many do and none gives the reference",
    "suspects-models": f"10 % changed, by how many models are compared: means over {FOR_MODELS} draws",
    "suspects-calibration": f"Probabilities and what had been changed, {COUNT} draws, each question held out",
    "suspects-forms": "GSM8K's distinct references, rewritten: right answers that a verifier misses, and models' wrong "
    "answers that one accepts",
    "suspects-strongest": "The strongest suspects in GSM8K's test questions as they are: twenty, and what ties with "
    "the last of them",
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.suspects")
    parser.add_argument("--fit", action="store_true", help="print the weights, and measure nothing")
    if parser.parse_args().fit:
        for name, fitted, published in zip(NAMES, Fit(questions(), DRAWS).weights, PUBLISHED, strict=True):
            print(f"{name} = {fitted:.2f}  (published: {published})")
        return
    began, found = time.perf_counter(), {}
    for name, one in measured(COUNT, DRAWS, every=1) if not quick() else measured(3, 2, every=10):
        print(f"{TITLES[name]}\n{markdown(one)}\n", flush=True)
        found[name] = one
    if not quick():
        seconds = time.perf_counter() - began
        for name, one in found.items():
            rows = [{field: rounded(value) for field, value in row.items()} for row in one["rows"]]
            publish(name, TITLES[name], "make suspects", one["columns"], rows, seconds=seconds, on="")


def measured(count: int, fitted: int, every: int) -> Iterator[tuple[str, tables.Table]]:
    """Each table by name.

    Args:
        count: draws that are scored.
        fitted: draws that the weights are fitted to.
        every: one of so many references is rewritten.
    """
    asked = questions()
    fit = Fit(asked, fitted)
    yield "suspects", tables.found(asked, fit, count)
    yield "suspects-agreement", tables.by_agreement(asked, fit, count)
    yield "suspects-models", tables.by_models(asked, fit, min(count, FOR_MODELS))
    yield "suspects-calibration", tables.calibration(asked, fit, count)
    yield "suspects-forms", tables.in_other_forms(asked, every)
    yield "suspects-strongest", tables.strongest(asked)


def markdown(found: tables.Table) -> str:
    """A table as the pages show it."""
    cells = [[Cell().format(column["cell"], **row) for column in found["columns"]] for row in found["rows"]]
    return table([column["heading"] for column in found["columns"]], cells)


def rounded(value: Any) -> Any:
    """A number with four decimals; everything else as it is."""
    return round(value, 4) if isinstance(value, float) else value


if __name__ == "__main__":
    main()
