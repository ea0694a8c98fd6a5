"""The benchmark's tables, as `docs/results` keeps them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence

from benchmarks.hackbench.first_steps import Beginning
from benchmarks.hackbench.junk import SIDES, UNHELD
from benchmarks.hackbench.results import MEMORIES, PROMISED, Cell, Result
from benchmarks.published import Table, table

NUMBER_ALONE = ("empty + answer", "bare number + answer")
"""Right answers that are a number alone."""
NOT_DEFENDED = {
    "a wrong number alone": "bare number",
    "a near-copy of a success, with a wrong number": "near a success",
    "the right number alone": "empty + answer",
    "a sentence of filler after a right answer": "right + a sentence",
    "a right solution with its words shuffled, the right number at the end": "shuffled sol. + answer",
}
"""In words -> class of junk."""


def presets(results: Mapping[str, Result]) -> Table:
    """What junk earns under each preset."""
    idle, wrong, armed = SIDES.values()
    held = [one for one in armed if one not in (*NUMBER_ALONE, *UNHELD)]
    lines: dict[str, Callable[[Result], float]] = {
        "no attempt that earns more than the median real attempt, worst class": lambda one: one.worst(idle),
        "wrong attempts that do, worst class": lambda one: one.worst(wrong),
        "right answers with junk that do, worst class; without numbers alone, shuffled words and a sentence of "
        "filler": lambda one: one.worst(held),
        "the same with these three": lambda one: one.worst(armed),
        "real attempts rejected": lambda one: one.rejected,
        f"spread of real attempts' rewards left after {_in_words(PROMISED)} junk completions in a row, worst class": (
            lambda one: one.kept_after(PROMISED)
        ),
        "groups of four whose rewards differ": lambda one: one.speaks,
        "the same where all four are wrong": lambda one: one.speaks_of_wrong,
        "mixed groups in which outcome + reward puts every right completion above every wrong one": (
            lambda one: one.right_first
        ),
    }
    return table(
        "What junk earns, compared with real attempts, by preset",
        {
            "": "{what}",
            **{f"`{name}`": f"{{{_field(name)}:short}} %" for name in results},
        },
        [
            {"what": what, **{_field(name): _percent(of(one)) for name, one in results.items()}}
            for what, of in lines.items()
        ],
    )


def by_class(preset: Result, paper: Result, groups: int) -> Table:
    """Each class of junk under the default preset, and under the paper's."""
    rows = []
    for side, classes in SIDES.items():
        for junk in classes:
            filled, empty = (_percent(preset.cells[memory, junk].above) for memory in MEMORIES)
            rows.append(
                {
                    "side": side,
                    "junk": junk,
                    "filled": filled,
                    "empty": empty,
                    "paper": _percent(paper.cells[MEMORIES[0], junk].above),
                }
            )
    return table(
        "Share of each class of junk that earns more than the median of three real attempts at the question, "
        f"{groups} groups a class",
        {
            "side": "{side}",
            "junk": "{junk}",
            "`attempts`, filled memory": "{filled:short} %",
            "`attempts`, nearly empty": "{empty:short} %",
            "`memory-r+`, filled": "{paper:short} %",
        },
        rows,
    )


def not_defended(preset: Result) -> Table:
    """The classes that the default preset does not hold back."""

    def worst(junk: str, of: Callable[[Cell], float]) -> float | None:
        return _percent(max(of(preset.cells[memory, junk]) for memory in MEMORIES))

    return table(
        "Junk that `attempts` does not hold back: share that earns more than the median real attempt, in the "
        "memory where it is larger",
        {
            "junk": "{junk}",
            "by the memory reward": "{above:short} %",
            "by outcome + reward": "{total:short} %",
            "by the memory reward, among attempts of its outcome": "{alike:short} %",
        },
        [
            {
                "junk": what,
                "above": worst(junk, lambda one: one.above),
                "total": worst(junk, lambda one: one.total),
                "alike": worst(junk, lambda one: one.alike),
            }
            for what, junk in NOT_DEFENDED.items()
        ],
    )


def without_a_guard(parts: Sequence[tuple[str, Mapping[str, float]]]) -> Table:
    """The default preset with one of its guards off."""
    return table(
        "`attempts` with one guard off: share of the worst class that earns more than the median real "
        "attempt, filled memory",
        {
            "guard that is off": "`{guard}`",
            "no attempt": "{no:short} %",
            "wrong attempt": "{wrong:short} %",
        },
        [
            {"guard": guard, "no": _percent(sides["no attempt"]), "wrong": _percent(sides["wrong attempt"])}
            for guard, sides in parts
        ],
    )


def aucs(results: Mapping[str, Result]) -> Table:
    """How well each preset's components tell right from wrong."""
    names = {"all": "all", "1": "one", "2": "two", "3": "three"}
    return table(
        "AUC of raw values for being right, within groups of four fresh attempts",
        {
            "component": "`{component}`",
            "preset": "`{preset}`",
            "all groups": "{all:.2f}",
            "1 right of 4": "{one:.2f}",
            "2": "{two:.2f}",
            "3": "{three:.2f}",
        },
        [
            {
                "component": component,
                "preset": preset,
                **{name: round(found.aucs[component][key], 3) for key, name in names.items()},
            }
            for component in ("explore", "exploit")
            for preset, found in results.items()
        ],
    )


def first_steps(found: Mapping[str, Beginning]) -> Table:
    """Runs as a trainer lives through them, by their names in words."""
    stretches = next(iter(found.values())).stretches
    rows = []
    for name, run in found.items():
        shares = {f"a{place}": _percent(one.apart) for place, one in enumerate(run.stretches)}
        first, last = run.stretches[0], run.stretches[-1]
        rows.append(
            {
                "run": name,
                **shares,
                "first": _mean(first.wrong),
                "last": _mean(last.wrong),
                "rfirst": _mean(first.right),
                "rlast": _mean(last.right),
            }
        )
    return table(
        f"The first {stretches[-1].last + 1} steps of a run, warm-up included: share of groups whose rewards "
        "differ, and mean rewards in the first and the last ten",
        {
            "run": "{run}",
            **{f"steps {one.first} to {one.last}": f"{{a{place}:short}} %" for place, one in enumerate(stretches)},
            "wrong completions": "{first:.2f}, then {last:.2f}",
            "right completions": "{rfirst:.2f}, then {rlast:.2f}",
        },
        rows,
    )


def short_answers(rejected: Mapping[str, Mapping[tuple[str, str], float]]) -> Table:
    """Short answers that presets reject, and the least of what is no answer."""
    keys = [one for one in next(iter(rejected.values())) if one[1] != "none"]
    rows = [
        {
            "wording": wording,
            "side": side,
            **{_field(name): _percent(found[wording, side]) for name, found in rejected.items()},
        }
        for wording, side in keys
    ]
    least = {
        _field(name): _percent(min(share for (_, side), share in found.items() if side == "none"))
        for name, found in rejected.items()
    }
    rows.append({"wording": "no answer (refusals, noise, nothing), the least rejected", "side": "", **least})
    return table(
        "Share of completions of one-digit sums that are rejected, four ways of asking",
        {
            "wording": "{wording}",
            "": "{side}",
            **{f"`{name}`": f"{{{_field(name)}:short}} %" for name in rejected},
        },
        rows,
    )


def tables(
    results: Mapping[str, Result],
    parts: Sequence[tuple[str, Mapping[str, float]]],
    begun: Mapping[str, Beginning],
    sums: Mapping[str, Mapping[tuple[str, str], float]],
    groups: int,
) -> Iterator[tuple[str, Table]]:
    """Every table with its name.

    Args:
        results: of the presets that the page compares; the first is the default, and the paper's is among them.
        parts: what `without_each_guard` found. begun: first steps, by a run's name in words. sums: short answers that
            are rejected. groups: of each class.
    """
    default = next(iter(results.values()))
    yield "junk", presets(results)
    yield "junk-by-class", by_class(default, results["memory-r+"], groups)
    yield "junk-not-defended", not_defended(default)
    yield "junk-without-a-guard", without_a_guard(parts)
    yield "junk-auc", aucs(results)
    yield "junk-first-steps", first_steps(begun)
    yield "short-answers", short_answers(sums)


def _percent(share: float) -> float | None:
    return None if math.isnan(share) else round(100 * share, 2)


def _mean(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 3)


def _field(preset: str) -> str:
    """A preset's name, as a field of a template may be named."""
    return preset.replace("-", "_").replace("+", "_plus")


def _in_words(number: int) -> str:
    return ("none", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")[number]
