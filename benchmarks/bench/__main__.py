"""How fast is memr, how small, how large? Every figure beside what it is compared with, measured in turn.

    make bench            # half an hour on an idle machine of two cores; QUICK=1: minutes, with smaller memories
    python -m benchmarks.bench --only large
    python -m benchmarks.bench --store redis    # the same over a Redis that writes every commit to its disk

encoder: its ways beside sentence-transformers' default. texts: the whole service over HTTP beside the implementations
that one would write or assemble. embeddings: sent by the caller, so that all the rest shows. large: memories of up to a
million prompts, their waits, restarts and bytes.

It prints one table, draws `reports/bench.png` and writes `reports/bench.json`; over Redis `bench-redis`. The processor
time of a service is then its own and that of its Redis.
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
from benchmarks.bench.place import STORES
from benchmarks.report import FOLDER, Report, quick

PARTS = ("encoder", "texts", "embeddings", "large")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=PARTS, action="append", help="measure this part (may be repeated)")
    parser.add_argument("--store", choices=STORES, default=STORES[0], help="where the services keep their runs")
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
    """The figures of a part, each imported when it is its turn: torch takes memory that others are measured beside."""
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
