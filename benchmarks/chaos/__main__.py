"""Is any request lost or counted twice when servers and networks fail? Three replicas, eight writers, five scenes.

    make chaos                                  # a quarter of an hour; QUICK=1: two or three minutes
    REDIS_SERVER=/usr/bin/valkey-server make chaos
    python -m benchmarks.chaos --scenes redis,sentinel --seed 3

Replicas are killed and stopped, Redis is killed, the network between them fails, a Sentinel appoints another primary,
a cluster loses a node. Writers send single completions and groups, with embeddings, to random replicas, and retry until
they get a response; two of them are ranks that wait for each other at a barrier. Then the log is replayed, one request
after another: every response must be reproduced bit for bit, every acknowledged request must be in the log once, every
replica must be in the replay's state, and `memr verify` must pass. Prints one table and writes `reports/chaos.json`.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import asdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))

from benchmarks.chaos.history import Findings
from benchmarks.chaos.scenes import SCENES, Scene
from benchmarks.report import Report, Row, quick

SECONDS, QUICK_SECONDS = 75.0, 8.0
"""Seconds of load in each scene."""
NONE = ("lost", "doubled", "replay_mismatches", "replica_digest_mismatches", "verify_failures")


def main() -> int:
    """Run the scenes. The exit status is 1 if a check fails."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", default=",".join(SCENES), help="scenes to run, separated by commas (default: all)")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    report, total = Report("chaos"), Findings()
    done: dict[str, int] = {}
    for name in options.scenes.split(","):
        began = time.monotonic()
        found, scene, version = SCENES[name](options.seed, QUICK_SECONDS if quick() else SECONDS)
        total += found
        print(line(name, version, found, scene, time.monotonic() - began), flush=True)
        for what, count in scene.done.items():
            done[what] = done.get(what, 0) + count
    report.rows = rows(total, done)
    failed = [row for row in report.rows if row.holds is False]
    print(f"\nseed {options.seed}, {time.perf_counter() - report.began:.0f} s: {asdict(total)}")
    print("the history holds" if not failed else f"BROKEN: {', '.join(row.name for row in failed)}")
    print(report.write())
    return len(failed) > 0


def line(name: str, version: str, found: Findings, scene: Scene, seconds: float) -> str:
    """A scene's findings as text."""
    made = ", ".join(f"{count} {what}" for what, count in scene.done.items())
    counts = ", ".join(f"{what} {count}" for what, count in asdict(found).items() if what in NONE)
    rewound = f"rewinds {found.rewinds_caused} caused, {found.rewinds_detected} detected"
    return f"{name} ({version}, {seconds:.0f} s; {made}):\n    {found.acknowledged} acknowledged; {counts}; {rewound}"


def rows(total: Findings, done: dict[str, int]) -> list[Row]:
    """The report's rows."""
    missed = abs(total.rewinds_caused - total.rewinds_detected)
    return [
        Row("acknowledged", total.acknowledged, "requests", 1),
        *(Row(name, getattr(total, name), "", 0, at_most=True) for name in NONE),
        Row("rewinds_caused", total.rewinds_caused, "", 1 if done.get("primaries replaced") else None),
        Row("rewinds_detected", total.rewinds_detected, "", total.rewinds_caused),
        Row("rewinds_misjudged", missed, "", 0, at_most=True),
        *(Row(what.replace(" ", "_"), count) for what, count in done.items()),
    ]


if __name__ == "__main__":
    sys.exit(main())
