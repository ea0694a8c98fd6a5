"""A killed server loses nothing that it acknowledged and counts nothing twice (`benchmarks/crash.py`, a few kills)."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import crash


def test_nothing_acknowledged_is_lost_doubled_or_changed_when_the_server_is_killed_under_load() -> None:
    counts = crash.trial(kills=3, runs=2, seed=1)
    assert counts["acknowledged"] > 0
    assert (counts["lost"], counts["doubled"], counts["different"], counts["unverified"]) == (0, 0, 0, 0)
