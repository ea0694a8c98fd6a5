"""The study's tables, as `docs/results` keeps them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from benchmarks.experiment import arms as of_study
from benchmarks.experiment.arms import mean, of_arm
from benchmarks.experiment.compare import Comparison
from benchmarks.language_model_study.arms import ARMS
from benchmarks.language_model_study.registration import Registration
from benchmarks.published import Row, Table, table


def arms(registration: Registration, found: Sequence[Row]) -> Table:
    """One row for each arm: means over its finished seeds, and what every one of them reached."""
    rows = []
    for arm in registration.arms:
        own = of_arm(found, arm, registration.seeds)
        if own:
            rows.append(
                {
                    "arm": arm,
                    "about": ARMS[arm].about,
                    **of_study.measured(own),
                    "start": mean([{"start": one["accuracy"][0]} for one in own], "start"),
                }
            )
    cells = {
        "arm": "`{arm}`",
        "what": "{about}",
        "seeds": "{n}",
        "start": "{start:.3f}",
        "area": "{area:.3f}",
        "final": "{final:.3f}",
        "area of each seed": "{each:bare}",
    }
    return table("Word problems, SmolLM2-135M: accuracy on held-out questions, every seed", cells, rows)


def collapse(registration: Registration, found: Sequence[Row]) -> Table:
    """One row for each arm: what its policy did in the first and in the last step, means over its seeds."""
    rows = []
    for arm in registration.arms:
        own = of_arm(found, arm, registration.seeds)
        if own:
            series = ("outcome", "format", "length", "diversity", "zero_variance_outcome")
            ends = {name: [mean([{name: one[name][at]} for one in own], name) for at in (0, -1)] for name in series}
            rows.append({"arm": arm, "n": len(own), **{name: _between(*values) for name, values in ends.items()}})
    cells = {
        "arm": "`{arm}`",
        "seeds": "{n}",
        "right": "{outcome}",
        "format": "{format}",
        "tokens": "{length}",
        "diversity": "{diversity}",
        "groups without spread": "{zero_variance_outcome}",
    }
    return table("Word problems: the first step and the last, means over the seeds", cells, rows)


def comparisons(registration: Registration, found: Sequence[Row]) -> Iterator[tuple[str, str, Comparison]]:
    """The registered pairs, on the seeds that all arms of the pairs have finished."""
    compared = {arm for pair in registration.pairs for arm in pair}
    finished = [{one["seed"] for one in of_arm(found, arm, registration.seeds)} for arm in compared]
    seeds = sorted(set.intersection(*finished))
    if len(seeds) > 1:
        yield from of_study.comparisons(found, registration.pairs, registration.measure, seeds)


def compared(registration: Registration, found: Sequence[Row]) -> Table:
    """One row for each comparison."""
    title = f"Word problems: paired comparisons; intervals and p corrected for all {len(registration.pairs)}"
    return of_study.compared(title, registration.measure, comparisons(registration, found))


def _between(first: float, last: float) -> str:
    return f"{first:.3g} to {last:.3g}"
