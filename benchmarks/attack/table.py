"""What became of each attack, and whether the service held."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.table import Table

from benchmarks.attack.bystanders import Seen
from benchmarks.attack.target import NO_ANSWER
from benchmarks.report import Row

P99_MS, PROBE_MS, MEMORY_MB = 1000.0, 100.0, 500.0
"""The most that a trainer, a probe and the server's memory over idle may take."""
HEADINGS = ("attack", "requests", "refused", "500s", "trainer p99 ms", "probe worst ms", "memory MB", "verdict")


@dataclass
class Outcome:
    """One attack's."""

    name: str
    seen: Seen
    memory: float
    """Resident memory over idle, MiB, at its peak."""
    statuses: dict[int, int] = field(default_factory=dict)
    wrong: Sequence[str] = ()
    must_refuse: bool = False

    @property
    def failures(self) -> list[str]:
        """What did not hold."""
        checks = {
            "server errors": not self.statuses.get(500) and not self.wrong,
            "accepted": not (self.must_refuse and self.accepted),
            "trainer": not self.seen.unanswered and bool(self.seen.rewards),
            "p99": self.seen.p99 < P99_MS,
            "probes fail": not self.seen.failed,
            "probes": self.seen.worst_probe < PROBE_MS,
            "memory": self.memory < MEMORY_MB,
        }
        return [name for name, holds in checks.items() if not holds]

    def fields(self) -> dict[str, Any]:
        """A row of the published table."""
        refused = sorted((status, count) for status, count in self.statuses.items() if status >= 400 and status != 500)
        parts = [f"{status}: {count:,}" for status, count in refused]
        if self.statuses.get(NO_ANSWER):
            parts.append(f"no response: {self.statuses[NO_ANSWER]:,}")
        return {
            "attack": self.name,
            "requests": sum(self.statuses.values()),
            "refused": ", ".join(parts) or "none",
            "errors": self.statuses.get(500, 0),
            "p99": round(self.seen.p99, 1),
            "probe": round(self.seen.worst_probe, 1),
            "memory": round(self.memory),
            "verdict": "holds" if not self.failures else "FAILS: " + ", ".join(self.failures),
        }

    def rows(self) -> list[Row]:
        """Its rows of the report."""
        name = self.name.replace(" ", "_")
        return [
            Row(f"{name}_server_errors", max(self.statuses.get(500, 0), len(self.wrong)), "requests", 0, at_most=True),
            Row(f"{name}_trainer_unanswered", self.seen.unanswered, "requests", 0, at_most=True),
            Row(f"{name}_trainer_p99", self.seen.p99, "ms", P99_MS, at_most=True),
            Row(f"{name}_probes_failed", self.seen.failed, "probes", 0, at_most=True),
            Row(f"{name}_probe_worst", self.seen.worst_probe, "ms", PROBE_MS, at_most=True),
            Row(f"{name}_memory", self.memory, "MiB over idle", MEMORY_MB, at_most=True),
            Row(f"{name}_accepted", self.accepted, "requests", 0 if self.must_refuse else None, at_most=True),
        ]

    @property
    def accepted(self) -> int:
        """Requests that were done."""
        return sum(count for status, count in self.statuses.items() if 200 <= status < 400)


def table(outcomes: Sequence[Outcome]) -> Table:
    """All attacks."""
    made = Table(*HEADINGS)
    for one in outcomes:
        fields = one.fields()
        colour = "green" if not one.failures else "red"
        made.add_row(
            *(f"{value:,}" if isinstance(value, int) else str(value) for value in fields.values()), style=colour
        )
    return made


def published(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Columns and rows of the table in the documentation."""
    cells = (
        "{attack}",
        "{requests:,}",
        "{refused}",
        "{errors}",
        "{p99:,.0f}",
        "{probe:,.0f}",
        "{memory:,}",
        "{verdict}",
    )
    columns = [{"heading": heading, "cell": cell} for heading, cell in zip(HEADINGS, cells, strict=True)]
    return {"columns": columns, "rows": [one.fields() for one in outcomes]}
