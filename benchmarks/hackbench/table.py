"""The results as one table: a column per preset and component, a line per class of junk, then other statistics."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence

from benchmarks.hackbench.junk import CLASSES, SLY
from benchmarks.hackbench.results import DOSES, MEMORIES, PROMISED, Cell, Result

SHORT = {
    "official-memory-r+": "official+",
    "official-memory-r": "official",
    "banded_novelty": "banded_nov.",
    "error_cluster": "error_clust.",
}
WIDTH = 14


def table(results: Mapping[str, Result]) -> Iterator[str]:
    """The table's lines. Two figures in a cell are for a filled and for a nearly empty memory."""
    yield "Share (%) of junk that earns more than the median of three real attempts at the question."
    yield from _block(results, [*CLASSES], lambda cell: f"{100 * cell.above:.0f}")
    yield ""
    yield "The same for a policy that knows the answer and appends it, so that the verifier takes its side."
    yield from _block(results, [*SLY], lambda cell: f"{100 * cell.above:.0f}")
    yield ""
    yield "The same as the block before, compared with real attempts of the same outcome only."
    yield from _block(results, [*SLY], lambda cell: "-" if math.isnan(cell.alike) else f"{100 * cell.alike:.0f}")
    yield ""
    yield "The first block by what a trainer sees, outcome + reward."
    yield from _block(results, [*CLASSES], lambda cell: f"{100 * cell.total:.0f}")
    yield ""
    yield "Mean reward."
    for side in ("right", "wrong"):
        values = [[_mean(one.real[memory, side]) for memory in MEMORIES] for one in results.values()]
        yield _line(f"real, {side}", [" ".join(f"{value:.2f}" for value in pair) for pair in values])
    yield from _block(results, [*CLASSES, *SLY], lambda cell: f"{cell.mean:.2f}")
    yield ""
    yield "AUC of raw values for being right, within groups of four fresh attempts (a component's own; presets below)."
    for rights in ("all", "1", "2", "3"):
        yield _line(f"right of 4: {rights}", [_auc(one, rights) for one in results.values()])
    yield ""
    yield "Spread."
    yield _line("sd of real rewards", [f"{one.spread:.2f}" for one in results.values()])
    yield _line(f"kept (%), {PROMISED} junk", [f"{100 * one.kept_after(PROMISED):.0f}" for one in results.values()])
    yield _line(f"kept (%), worst of {DOSES[-1]}", [f"{100 * one.kept_at_worst():.0f}" for one in results.values()])
    doses = [one.flattened_by() for one in results.values()]
    yield _line("junk that halves it", [f">{DOSES[-1]}" if dose is None else str(dose) for dose in doses])
    yield _line("groups it tells apart %", [f"{100 * one.speaks:.0f}" for one in results.values()])
    yield _line("real rejected (%)", [f"{100 * one.rejected:.2f}" for one in results.values()])


def leaks(results: Mapping[str, Result]) -> Iterator[str]:
    """The AUCs of each preset's components."""
    yield _line("AUC", ["all", "1 right", "2 right", "3 right"])
    for name, one in results.items():
        for component, aucs in one.aucs.items():
            yield _line(f"{SHORT.get(name, name)} {component}"[:24], [f"{value:.2f}" for value in aucs.values()])


def ablation(parts: Sequence[tuple[str, float, float]]) -> Iterator[str]:
    """The effect of each guard of `guarded`: the largest shares (%) above the median without it (filled memory)."""
    yield _line("guarded without", ["junk", "with the answer"])
    for guard, plain, sly in parts:
        yield _line(guard, [f"{100 * plain:.0f}", f"{100 * sly:.0f}"])


def _block(results: Mapping[str, Result], classes: Sequence[str], shown: Callable[[Cell], str]) -> Iterator[str]:
    yield _line("", [SHORT.get(name, name) for name in results])
    for junk in classes:
        yield _line(junk, [" ".join(shown(one.cells[memory, junk]) for memory in MEMORIES) for one in results.values()])


def _line(head: str, values: Sequence[str]) -> str:
    return f"{head:<26}" + "".join(f"{value:>{WIDTH}}" for value in values)


def _auc(result: Result, rights: str) -> str:
    return f"{next(iter(result.aucs.values()))[rights]:.2f}" if len(result.aucs) == 1 else ""


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
