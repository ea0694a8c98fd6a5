"""A benchmark's report, `reports/NAME.json`: rows of figures, each checked against its floor if it has one."""

from __future__ import annotations

import json
import math
import os
import platform
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "reports"


def quick() -> bool:
    """Whether a smaller run is requested by `QUICK=1`."""
    return os.environ.get("QUICK", "") not in ("", "0")


@dataclass(frozen=True)
class Row:
    """One figure. `floor` is its required minimum, or maximum with `at_most`; `goal` is the desired value."""

    name: str
    value: float
    unit: str = ""
    floor: float | None = None
    goal: float | None = None
    at_most: bool = False

    @property
    def holds(self) -> bool | None:
        """Whether the value meets its floor; None without a floor."""
        if self.floor is None:
            return None
        return self.value <= self.floor if self.at_most else self.value >= self.floor

    def fields(self) -> dict[str, object]:
        """The row for JSON. A value that is not a finite number is null."""
        value = self.value if math.isfinite(self.value) else None
        return {
            "name": self.name,
            "value": value,
            "unit": self.unit,
            "floor": self.floor,
            "goal": self.goal,
            "holds": self.holds,
        }


@dataclass
class Report:
    """The rows of a benchmark, and its start time."""

    name: str
    rows: list[Row] = field(default_factory=list)
    began: float = field(default_factory=time.perf_counter)

    def write(self) -> Path:
        """Write the file, with the commit and the machine."""
        FOLDER.mkdir(exist_ok=True)
        path = FOLDER / f"{self.name}.json"
        whole = {
            "commit": commit(),
            "machine": machine(),
            "seconds": round(time.perf_counter() - self.began, 1),
            "quick": quick(),
            "rows": [row.fields() for row in self.rows],
        }
        path.write_text(json.dumps(whole, indent=2) + "\n", encoding="utf-8")
        return path


def commit() -> str:
    """The code's commit, with a + if files have changed since; "unknown" outside a repository."""
    try:
        found = subprocess.run(
            ["git", "describe", "--always", "--abbrev=40", "--dirty=+"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return found.stdout.strip()


def machine() -> str:
    """Processor, cores and system as text."""
    names = [line.partition(":")[2].strip() for line in _cpuinfo() if line.startswith("model name")]
    processor = names[0] if names else platform.processor() or platform.machine()
    system = f"{platform.system()} {platform.release()}, Python {platform.python_version()}"
    return f"{processor}, {os.cpu_count()} cores, {system}"


def _cpuinfo() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []
