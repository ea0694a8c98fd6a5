"""The study's tables, as `docs/results` keeps them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from benchmarks.experiment import arms as of_study
from benchmarks.experiment.arms import mean, of_arm
from benchmarks.experiment.compare import Comparison
from benchmarks.planning_study.arms import ARMS
from benchmarks.planning_study.registration import DEAD, Part, Pool
from benchmarks.published import Row, Table, table

MEASURE = "area"
CONTROL = "uniform"
"""The arm whose final accuracy is to be reached."""


def comparisons(part: Part, found: Sequence[Row]) -> Iterator[tuple[str, str, Comparison]]:
    """The part's pairs, on its first pool, where both have all of their seeds."""
    return of_study.comparisons(found, part.pairs, MEASURE, part.seeds, dead_share=part.pools[0])


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


def dead_share(pool: Pool) -> float | None:
    """The share of a pool's questions that are dead. None: not one that was made."""
    return float(pool.removeprefix(DEAD)) if isinstance(pool, str) and pool.startswith(DEAD) else None


def arms(parts: Sequence[Part], found: Sequence[Row], title: str) -> Table:
    """One row for each pool and arm."""
    wanted = sorted(((pool, part) for part in parts for pool in part.pools), key=lambda one: str(one[0]))
    rows = []
    for pool, part in wanted:
        control = of_arm(found, CONTROL, part.seeds, dead_share=pool)
        for arm in part.arms:
            own = of_arm(found, arm, part.seeds, dead_share=pool)
            if not own:
                continue
            rows.append(
                {
                    "dead": dead_share(pool),
                    "arm": arm,
                    "about": ARMS[arm].about,
                    **of_study.measured(own),
                    "spread": mean(own, "spread"),
                    "rollouts": share_of_rollouts(own, control) if len(own) == len(control) else None,
                }
            )
    dead = {"dead": "{dead:.0%}"} if all(row["dead"] is not None for row in rows) else {}
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
    return table(title, cells, rows)


def compared(part: Part, found: Sequence[Row], title: str) -> Table:
    """One row for each of the part's comparisons."""
    corrected = f"{title}; intervals and p corrected for all {len(part.pairs)}"
    return of_study.compared(corrected, MEASURE, comparisons(part, found))
