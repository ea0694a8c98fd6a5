"""The study's tables, as `docs/results` keeps them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from benchmarks.experiment import arms as of_study
from benchmarks.experiment.arms import of_arm
from benchmarks.experiment.compare import Comparison
from benchmarks.published import Row, Table, table
from benchmarks.repair_study.arms import ABOUT
from benchmarks.repair_study.labels import Kind
from benchmarks.repair_study.registration import Registration


def comparisons(
    registration: Registration, found: Sequence[Row], noise: float, kind: Kind
) -> Iterator[tuple[str, str, Comparison]]:
    """Each registered comparison under some noise, where both arms have all of their seeds."""
    pairs, seeds = registration.pairs, registration.seeds
    return of_study.comparisons(found, pairs, registration.measure, seeds, noise=noise, kind=kind)


def arms(registration: Registration, found: Sequence[Row]) -> Table:
    """One row for each arm and noise."""
    rows = []
    for noise, kind in registration.conditions:
        for arm in ABOUT:
            if not (own := of_arm(found, arm, registration.seeds, noise=noise, kind=kind)):
                continue
            repaired, rightly = (sum(sum(one[name]) for one in own) for name in ("repaired", "rightly"))
            rows.append(
                {
                    "noise": noise,
                    "kind": kind,
                    "arm": arm,
                    "about": ABOUT[arm],
                    **of_study.measured(own),
                    "repaired": round(repaired / len(own), 1),
                    "rightly": rightly / repaired if repaired else None,
                }
            )
    cells = {
        "wrong labels": "{noise:.0%}, {kind}",
        "arm": "`{arm}`",
        "outcomes": "{about}",
        "seeds": "{n}",
        "area": "{area:.3f}",
        "final": "{final:.3f}",
        "groups repaired": "{repaired:.1f}",
        "of them wrong": "{rightly:.0%}",
        "area of each seed": "{each:bare}",
    }
    return table("Trainings with wrong labels: means over the seeds, and the area of each", cells, rows)


def compared(registration: Registration, found: Sequence[Row]) -> Table:
    """One row for each registered comparison under the registered noise."""
    noise, kind, pairs = registration.noise, registration.kind, len(registration.pairs)
    title = f"Paired comparisons with {noise:.0%} {kind} labels; intervals and p corrected for all {pairs}"
    return of_study.compared(title, registration.measure, comparisons(registration, found, noise, kind))
