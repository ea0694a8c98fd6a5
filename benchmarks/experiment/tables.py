"""Results as Markdown tables: methods with their seeds, comparisons, and collapse."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.experiment.compare import Comparison, compare
from benchmarks.experiment.methods import METHODS
from benchmarks.experiment.results import MEASURES, Results


def overview(results: Results) -> str:
    """One line per method, best area first: mean and standard deviation of both measures, and the final accuracies."""
    lines = ["| method | | seeds | final | area | final of each seed |", "|---|---|---|---|---|---|"]
    for method in sorted(results.rows, key=lambda name: -float(np.mean(results.column(name, "area")))):
        final, area = (results.column(method, measure) for measure in MEASURES)
        each = " ".join(f"{value:.2f}".lstrip("0") for value in final)
        about = METHODS[method].about
        lines.append(f"| `{method}` | {about} | {len(final)} | {_mean(final)} | {_mean(area)} | {each} |")
    return "\n".join(lines)


@dataclass(frozen=True)
class Pair:
    """A method compared with a control in one measure."""

    method: str
    control: str
    measure: str
    found: Comparison


def pairs(results: Results, methods: Iterable[str], controls: Iterable[str]) -> list[Pair]:
    """Compare every method with every control in every measure, over the seeds of both.

    Each comparison is corrected for the number of comparisons.
    """
    asked = list(itertools.product(methods, controls, MEASURES))
    found = []
    for method, control, measure in asked:
        seeds = results.shared(method, control)
        columns = (results.column(name, measure, seeds) for name in (method, control))
        found.append(Pair(method, control, measure, compare(*columns, comparisons=len(asked))))
    return found


def differences(compared: Sequence[Pair]) -> str:
    """One line per comparison."""
    lines = [
        "| method minus control | measure | seeds | difference | interval | p | holds |",
        "|---|---|---|---|---|---|---|",
    ]
    for pair in compared:
        found, holds = pair.found, "yes" if pair.found.holds else "no"
        numbers = f"{found.seeds} | {found.difference:+.3f} | [{found.low:+.3f}, {found.high:+.3f}] | {found.p:.4f}"
        lines.append(f"| `{pair.method}` - `{pair.control}` | {pair.measure} | {numbers} | {holds} |")
    return "\n".join(lines)


def collapse(results: Results) -> str:
    """The policy in the first and the last step: ways of answering, rewards, length and diversity."""
    modes = sorted({mode for rows in results.rows.values() for row in rows.values() for mode in row["modes"]})
    head = ["method", *modes, "format reward", "tokens", "diversity", "memory's share"]
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    for method, rows in results.rows.items():
        shares = [_from_to([row["modes"].get(mode, [0.0]) for row in rows.values()]) for mode in modes]
        others = [_from_to([row[name] for row in rows.values()]) for name in ("format", "length", "diversity")]
        share = [row["memory_share"]["all"] for row in rows.values() if row["memory_share"]["all"] is not None]
        memory = f"{np.mean(share):.2f}" if share else "-"
        lines.append(f"| `{method}` | {' | '.join([*shares, *others, memory])} |")
    return "\n".join(lines)


def _mean(values: list[float]) -> str:
    deviation = f" ± {np.std(values, ddof=1):.3f}" if len(values) > 1 else ""
    return f"{np.mean(values):.3f}{deviation}"


def _from_to(curves: list[list[float]]) -> str:
    """Mean over the seeds of the first and the last value."""
    first, last = np.mean([curve[0] for curve in curves]), np.mean([curve[-1] for curve in curves])
    return f"{first:.2f} → {last:.2f}"
