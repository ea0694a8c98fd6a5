"""The experiment's report as Markdown, and its numbers as rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from benchmarks.experiment import tables
from benchmarks.experiment.compare import Comparison
from benchmarks.experiment.plan import OTHERS
from benchmarks.experiment.registration import Registration
from benchmarks.experiment.results import MEASURES, Results

CORRECTED = "Intervals and p are corrected for {} comparisons."


def document(registration: Registration, first: Results, second: Results, quick: bool) -> str:
    """The report as Markdown, which refers to pictures in the same folder."""
    others = [name for name in first.rows if name not in registration.everyone]
    compared = registered_pairs(registration, first)
    few = registration.seeds[:OTHERS]
    parts = [
        "# Does a memory reward help?",
        "Quick: four seeds, of which no difference can hold." if quick else "",
        verdict(registration, primary(registration, compared)),
        f"## {first.task}: what was registered",
        tables.overview(first.on(few if quick else registration.seeds)),
        "![learning](learning.png)",
        CORRECTED.format(len(compared)),
        tables.differences(compared),
    ]
    if others:
        compared = tables.pairs(first, others, ["r1"])
        parts += [f"## {first.task}: everything, on the first {OTHERS} seeds", tables.overview(first.on(few))]
        parts += ["![everything](everything.png)", CORRECTED.format(len(compared)), tables.differences(compared)]
    parts += [
        "## Collapse",
        "Means over the same seeds, in the first and in the last step.",
        tables.collapse(first.on(few)),
    ]
    parts += ["![collapse](collapse.png)"]
    if second.rows:
        compared = registered_pairs(registration, second)
        parts += [f"## {second.task}: no trap", tables.overview(second)]
        parts += [CORRECTED.format(len(compared)), tables.differences(compared)]
    return "\n\n".join(part for part in parts if part) + "\n"


def registered_pairs(registration: Registration, results: Results) -> list[tables.Pair]:
    """Every registered method compared with every registered control."""
    return tables.pairs(results, registration.methods, registration.controls)


def primary(registration: Registration, compared: Sequence[tables.Pair]) -> Comparison:
    """The primary comparison."""
    return next(p.found for p in compared if (p.method, p.control, p.measure) == registration.primary)


def verdict(registration: Registration, found: Comparison) -> str:
    """The result of the primary comparison as a sentence."""
    method, control, measure = registration.primary
    said = f"It is not shown that `{method}` differs from `{control}`"
    if found.holds:
        said = f"`{method}` {'beats' if found.difference > 0 else 'falls short of'} `{control}`"
    return (
        f"**{said}** on {registration.task}: {measure} {found.difference:+.3f}, corrected interval "
        f"[{found.low:+.3f}, {found.high:+.3f}], p = {found.p:.4f}, {found.seeds} seeds. "
        "The comparison was registered before its seeds were run."
    )


def measured(registration: Registration, tasks: Sequence[Results]) -> dict[str, float]:
    """Row name -> value, for every method and measure, and for the ends of the primary comparison's interval."""
    means = {
        f"{results.task}/{method}/{measure}": float(np.mean(results.column(method, measure)))
        for results in tasks
        for method in results.rows
        for measure in MEASURES
    }
    found = primary(registration, registered_pairs(registration, tasks[0]))
    task = registration.task
    return {**means, f"{task}/primary/interval_low": found.low, f"{task}/primary/interval_high": found.high}
