"""The study's tables, as `docs/results` keeps them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from benchmarks.experiment.compare import Comparison, compare
from benchmarks.planning_study.arms import ARMS
from benchmarks.planning_study.registration import Part, Pool

Row = dict[str, Any]
Table = dict[str, Any]

MEASURE = "area"
CONTROL = "uniform"
"""The arm whose final accuracy is to be reached."""


def of_arm(found: Sequence[Row], arm: str, pool: Pool, seeds: Sequence[int]) -> list[Row]:
    """An arm's finished trainings on a pool, by seed."""
    own = [one for one in found if (one["method"], one["dead_share"]) == (arm, pool) and one["seed"] in seeds]
    return sorted(own, key=lambda one: int(one["seed"]))


def comparisons(part: Part, found: Sequence[Row]) -> Iterator[tuple[str, str, Comparison]]:
    """The part's pairs, on its first pool, where both have all of their seeds."""
    for method, control in part.pairs:
        rows = [of_arm(found, arm, part.pools[0], part.seeds) for arm in (method, control)]
        if all(len(of_one) == len(part.seeds) for of_one in rows):
            columns = [[one[MEASURE] for one in of_one] for of_one in rows]
            yield method, control, compare(*columns, comparisons=len(part.pairs))


def share_of_rollouts(own: Sequence[Row], control: Sequence[Row]) -> float | None:
    """The share of its steps after which an arm's mean curve reaches the control's final accuracy.

    None: it never does, or one of the two is not finished.
    """
    if not own or not control:
        return None
    curve, other = (np.mean([one["accuracy"] for one in rows], axis=0) for rows in (own, control))
    evaluated = own[0]["evaluated"]
    reached = curve >= other[-1]
    return float(evaluated[int(np.argmax(reached))] / evaluated[-1]) if reached.any() else None


def arms(parts: Sequence[Part], found: Sequence[Row], title: str) -> Table:
    """One row for each pool and arm."""
    wanted = sorted(((pool, part) for part in parts for pool in part.pools), key=lambda one: str(one[0]))
    rows = []
    for pool, part in wanted:
        control = of_arm(found, CONTROL, pool, part.seeds)
        for arm in part.arms:
            own = of_arm(found, arm, pool, part.seeds)
            if not own:
                continue
            rows.append(
                {
                    "dead": pool,
                    "arm": arm,
                    "about": ARMS[arm].about,
                    "seeds": [one["seed"] for one in own],
                    "n": len(own),
                    **{name: _mean(own, name) for name in ("area", "final", "spread")},
                    "each": [one["area"] for one in own],
                    "rollouts": share_of_rollouts(own, control) if len(own) == len(control) else None,
                }
            )
    dead = {"dead": "{dead:.0%}"} if all(isinstance(pool, float) for pool, _ in wanted) else {}
    cells = {
        **dead,
        "arm": "`{arm}`",
        "what it samples": "{about}",
        "seeds": "{n}",
        "area": "{area:.3f}",
        "final": "{final:.3f}",
        "groups with spread": "{spread:.0%}",
        "rollouts to `uniform`'s final": "{rollouts:.0%}",
        "area of each seed": "{each:bare}",
    }
    return _table(title, cells, rows)


def compared(part: Part, found: Sequence[Row], title: str) -> Table:
    """One row for each of the part's comparisons."""
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
        for method, control, one in comparisons(part, found)
    ]
    cells = {
        "method minus control": "`{method}` - `{control}`",
        "seeds": "{seeds}",
        f"difference of the {MEASURE}": "{difference:+.3f}",
        "interval": "[{low:+.3f}, {high:+.3f}]",
        "p": "{p:.4f}",
        "holds": "{holds}",
    }
    return _table(f"{title}; intervals and p corrected for all {len(part.pairs)}", cells, rows)


def _mean(rows: Sequence[Row], name: str) -> float:
    return round(float(np.mean([np.mean(one[name]) for one in rows])), 4)


def _table(title: str, cells: dict[str, str], rows: list[Row]) -> Table:
    columns = [{"heading": heading, "cell": cell} for heading, cell in cells.items()]
    return {"title": title, "columns": columns, "rows": rows}
