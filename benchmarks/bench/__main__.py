"""How fast and how small is memr, and how large can its memories be? Compared variants are measured alternately.

    make bench            # half an hour on an idle machine with two cores; QUICK=1: minutes, with smaller memories
    python -m benchmarks.bench --only large
    python -m benchmarks.bench --store redis    # over a Redis that writes every commit to its disk

encoder: memr's encoders compared with sentence-transformers' default. texts: the whole service over HTTP compared with
straightforward implementations. embeddings: sent by the caller, so that only the rest of the service is measured.
large: latency, restarts and bytes of memories with up to a million prompts.

Prints one table, draws `reports/bench.png` and writes `reports/bench.json` (over Redis: `bench-redis`). Over Redis, a
service's processor time includes that of Redis.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # of this process and of the servers it starts
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))

from benchmarks.bench import chart
from benchmarks.bench.figures import HEAD, Figure
from benchmarks.bench.store import STORES
from benchmarks.report import FOLDER, Report, quick

PARTS = ("encoder", "texts", "embeddings", "large")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=PARTS, action="append", help="measure this part (may be repeated)")
    parser.add_argument("--store", choices=STORES, default=STORES[0], help="store of the services")
    asked = parser.parse_args()
    report, found = Report("bench" if asked.store == STORES[0] else f"bench-{asked.store}"), []
    print(HEAD)
    for part in asked.only or PARTS:
        for one in measured(part, asked.store):
            found.append(one)
            print(one, flush=True)
    report.rows = [one.row for one in found]
    missed = [row.name for row in report.rows if row.holds is False]
    print(f"\nmissed: {', '.join(missed) or 'none'}\n{report.write()}")
    chart.draw(found, FOLDER / f"{report.name}.png")


def measured(part: str, store: str) -> Iterator[Figure]:
    """The figures of a part. Parts are imported late, because torch takes memory that other parts measure."""
    if part == "encoder":
        from benchmarks.bench import encoding

        yield from encoding.figures()
    elif part == "texts":
        from benchmarks.bench import texts

        yield from texts.figures(quick=quick(), store=store)
    elif part == "embeddings":
        from benchmarks.bench import embeddings

        yield from embeddings.figures(quick=quick(), store=store)
    else:
        from benchmarks.bench import large

        yield from large.figures(quick=quick(), store=store)


if __name__ == "__main__":
    main()
