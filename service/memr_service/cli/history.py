"""A run's history: read from a server, shown as a table, turned into metrics."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from memr_client import RewardClient
from memr_client.schemas import HistoryRow, Quantiles

from memr_service.cli.sheet import Sheet

PAGE = 1000


def steps(client: RewardClient, run_id: str, after: int = 0) -> Iterator[HistoryRow]:
    """The run's steps after a position, oldest first. They are requested page by page."""
    while rows := client.history(run_id, after, PAGE):
        yield from rows
        after = rows[-1].position


def metrics(row: HistoryRow) -> dict[str, float]:
    """Metrics of a step by name. Names are the same for all runs; undefined values are left out."""
    named: dict[str, float] = {
        "memr/items": row.items,
        "memr/groups": row.groups,
        "memr/outcome/mean": row.outcome_mean,
        "memr/outcome/zero_variance_share": row.zero_variance_share,
        "memr/reward/mean": row.reward_mean,
        "memr/reward/std": row.reward_std,
        "memr/length/mean": row.length_mean,
        **_quantiles("memr/length", row.length),
    }
    for name, one in row.components.items():
        named |= {
            f"memr/{name}/defined": one.defined,
            f"memr/{name}/scaled/mean": one.scaled_mean,
            f"memr/{name}/scaled/std": one.scaled_std,
            f"memr/{name}/share": one.share,
            **_quantiles(f"memr/{name}/raw", one.raw),
        }
    if row.diversity is not None:
        named["memr/diversity"] = row.diversity
    named |= {f"memr/rejected/{reason.replace(':', '/')}": count for reason, count in row.rejected.items()}
    named |= {f"memr/merged/{memory}": count for memory, count in row.merged.items()}
    named |= {f"memr/evicted/{limit.replace(':', '/')}": count for limit, count in row.evicted.items()}
    named |= {f"memr/support/{memory}": mean for memory, mean in row.support.items()}
    for memory, size in (("success", row.memory.success), ("failure", row.memory.failure)):
        named |= {f"memr/memory/{memory}/{what}": count for what, count in size.model_dump().items()}
    return named


def table(rows: Sequence[HistoryRow]) -> Sheet:
    """One line per step, with each component's median raw value, mean scaled value and share of the reward."""
    components = list(rows[-1].components) if rows else []
    shown = Sheet("step", caption=None if rows else "No steps yet: the first training request makes one.")
    shown.block("position", "items", "outcome", "reward")
    for name in components:
        shown.block(f"{name}\nraw", "scaled", "share")
    for row in rows:
        figures = [str(row.position), str(row.items), f"{row.outcome_mean:.2f}", f"{row.reward_mean:.2f}"]
        shown.row("-" if row.step is None else str(row.step), figures, *(_cells(row, name) for name in components))
    return shown


def _cells(row: HistoryRow, component: str) -> list[str]:
    one = row.components.get(component)
    if one is None:
        return ["-"] * 3
    median = "-" if one.raw is None else f"{one.raw.p50:.3f}"
    return [median, f"{one.scaled_mean:.2f}", f"{one.share:.0%}"]


def _quantiles(name: str, found: Quantiles | None) -> dict[str, float]:
    return {} if found is None else {f"{name}/{quantile}": value for quantile, value in found.model_dump().items()}
