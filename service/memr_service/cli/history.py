"""A run step by step, off a server and as a table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from memr_client import RewardClient
from memr_client.schemas import HistoryRow
from rich.table import Table

PAGE = 1000


def steps(client: RewardClient, run_id: str, after: int = 0) -> Iterator[HistoryRow]:
    """The run's steps whose records come after a position, the oldest first, page by page."""
    while rows := client.history(run_id, after, PAGE):
        yield from rows
        after = rows[-1].position


def table(rows: Sequence[HistoryRow]) -> Table:
    """The steps, one line each; of every component the median raw value, the mean scaled one, the share."""
    components = list(rows[-1].components) if rows else []
    shown = Table(caption=None if rows else "Nothing yet: a training request makes the first step.")
    for heading in ("step", "position", "items", "outcome", "reward"):
        shown.add_column(heading, justify="right")
    for name in components:
        for heading in ("raw", "scaled", "share"):
            shown.add_column(f"{name}\n{heading}", justify="right")
    for row in rows:
        cells = ["-" if row.step is None else str(row.step), str(row.position), str(row.items)]
        cells += [f"{row.outcome_mean:.2f}", f"{row.reward_mean:.2f}"]
        for name in components:
            one = row.components[name]
            median = "-" if one.raw is None else f"{one.raw.p50:.3f}"
            cells += [median, f"{one.scaled_mean:.2f}", f"{one.share:.0%}"]
        shown.add_row(*cells)
    return shown
