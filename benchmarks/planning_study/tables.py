"""The study's tables, as `docs/results` keeps them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from benchmarks.experiment.compare import Comparison, compare
from benchmarks.planning_study.registration import Registration
from benchmarks.planning_study.training import ABOUT

Row = dict[str, Any]
Table = dict[str, Any]


def of_arm(found: Sequence[Row], arm: str, dead_share: float) -> list[Row]:
    """An arm's finished trainings on a pool, by seed."""
    own = [one for one in found if (one["method"], one["dead_share"]) == (arm, dead_share)]
    return sorted(own, key=lambda one: int(one["seed"]))


def comparisons(registration: Registration, found: Sequence[Row]) -> Iterator[tuple[str, str, Comparison]]:
    """Each method minus each control, on the registered pool, where both have all of their seeds."""
    pairs = [(method, control) for method in registration.methods for control in registration.controls]
    for pair in pairs:
        columns = [[one[registration.measure] for one in of_arm(found, arm, registration.dead_share)] for arm in pair]
        if len(columns[0]) == len(columns[1]) == len(registration.seeds):
            yield *pair, compare(*columns, comparisons=len(pairs))


def share_of_rollouts(registration: Registration, found: Sequence[Row], arm: str) -> float | None:
    """The share of its steps after which an arm's mean curve reaches the first control's final accuracy.

    None: it never does, or one of the two is not finished.
    """
    of_both = [of_arm(found, name, registration.dead_share) for name in (arm, registration.controls[0])]
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
            own = of_arm(found, arm, dead_share)
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
                    **{name: _mean(own, name) for name in ("area", "final", "spread")},
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
    return _table("Planning on pools with dead questions: means over the seeds, and the area of each", cells, rows)


def compared(registration: Registration, found: Sequence[Row]) -> Table:
    """One row for each registered comparison."""
    rows = [
        {
            "method": method,
            "control": control,
            "seeds": one.seeds,
            "difference": round(one.difference, 4),
            "low": round(one.low, 4),
            "high": round(one.high, 4),
            "p": one.p,
            "holds": "yes" if one.holds else "no",
        }
        for method, control, one in comparisons(registration, found)
    ]
    cells = {
        "method minus control": "`{method}` - `{control}`",
        "seeds": "{seeds}",
        f"difference of the {registration.measure}": "{difference:+.3f}",
        "interval": "[{low:+.3f}, {high:+.3f}]",
        "p": "{p:.4f}",
        "holds": "{holds}",
    }
    pairs = len(registration.methods) * len(registration.controls)
    dead = f"{registration.dead_share:.0%}"
    return _table(
        f"Paired comparisons with {dead} dead questions; intervals and p corrected for all {pairs}", cells, rows
    )


def _mean(rows: Sequence[Row], name: str) -> float:
    return round(float(np.mean([np.mean(one[name]) for one in rows])), 4)


def _table(title: str, cells: dict[str, str], rows: list[Row]) -> Table:
    columns = [{"heading": heading, "cell": cell} for heading, cell in cells.items()]
    return {"title": title, "columns": columns, "rows": rows}
