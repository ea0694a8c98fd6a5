"""The study's tables, as `docs/results` keeps them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from benchmarks.experiment import arms as of_study
from benchmarks.experiment.arms import Row, Table, mean, of_arm, table
from benchmarks.experiment.compare import Comparison
from benchmarks.planning_study.registration import Registration
from benchmarks.planning_study.training import ABOUT


def comparisons(registration: Registration, found: Sequence[Row]) -> Iterator[tuple[str, str, Comparison]]:
    """Each method minus each control, on the registered pool, where both have all of their seeds."""
    pairs = [(method, control) for method in registration.methods for control in registration.controls]
    where = {"dead_share": registration.dead_share}
    return of_study.comparisons(found, pairs, registration.measure, registration.seeds, **where)


def share_of_rollouts(registration: Registration, found: Sequence[Row], arm: str) -> float | None:
    """The share of its steps after which an arm's mean curve reaches the first control's final accuracy.

    None: it never does, or one of the two is not finished.
    """
    of_both = [of_arm(found, name, dead_share=registration.dead_share) for name in (arm, registration.controls[0])]
    if not all(of_both):
        return None
    own, control = (np.mean([one["accuracy"] for one in rows], axis=0) for rows in of_both)
    evaluated = of_both[0][0]["evaluated"]
    reached = own >= control[-1]
    return float(evaluated[int(np.argmax(reached))] / evaluated[-1]) if reached.any() else None


def arms(registration: Registration, found: Sequence[Row]) -> Table:
    """One row for each arm and pool."""
    rows = []
    for dead_share in sorted({one["dead_share"] for one in found}):
        for arm in ABOUT:
            own = of_arm(found, arm, dead_share=dead_share)
            if not own:
                continue
            is_registered = dead_share == registration.dead_share
            rows.append(
                {
                    "dead": dead_share,
                    "arm": arm,
                    "about": ABOUT[arm],
                    "seeds": [one["seed"] for one in own],
                    "n": len(own),
                    **{name: mean(own, name) for name in ("area", "final", "spread")},
                    "each": [one["area"] for one in own],
                    "rollouts": share_of_rollouts(registration, found, arm) if is_registered else None,
                }
            )
    cells = {
        "dead": "{dead:.0%}",
        "arm": "`{arm}`",
        "what it samples": "{about}",
        "seeds": "{n}",
        "area": "{area:.3f}",
        "final": "{final:.3f}",
        "groups with spread": "{spread:.0%}",
        "rollouts to `uniform`'s final": "{rollouts:.0%}",
        "area of each seed": "{each:bare}",
    }
    return table("Planning on pools with dead questions: means over the seeds, and the area of each", cells, rows)


def compared(registration: Registration, found: Sequence[Row]) -> Table:
    """One row for each registered comparison."""
    pairs = len(registration.methods) * len(registration.controls)
    dead = f"{registration.dead_share:.0%}"
    title = f"Paired comparisons with {dead} dead questions; intervals and p corrected for all {pairs}"
    return of_study.compared(title, registration.measure, comparisons(registration, found))
