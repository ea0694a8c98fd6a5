"""A run that is large: how long does a restart take, how many bytes, and how long does a request wait meanwhile?

    make bench-large                                        # 1,000,000 completions: 10,000 prompts with 100 each
    python -m benchmarks.large_run --prompts 100000         # 10,000,000: 12 GB of memory, 25 GB of disk

The run's success memory is full: 100 completions (d = 384, float16) under each prompt. It is put into an embedded store
as the snapshot at which a bounded journal begins. Another process opens the store, scores, and then measures how long
each request of 64 completions waits: of 64 stored prompts, or, where a graph is wanted, half of them new, so that the
oldest prompts leave. Snapshots are taken after 16 MB of journal, which is far more often than a service does it.

"quiet" waits are those during which no snapshot is made and no graph is built. The longest wait is that of the 99.9th
percentile while one is.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import wraps
from typing import Any

import numpy as np
import psutil
from memr_client import RewardClient
from memr_client.schemas import RunConfig
from memr_service.engine.inputs import identity
from memr_service.memory import Memory, Writes
from memr_service.memory.prompt_index import SIZES
from memr_service.run import live_state
from memr_service.run.index_builds import IndexBuilds
from memr_service.run.presets import resolve
from memr_service.state.law import LAW
from memr_service.state.state import State
from memr_service.store import open_store
from memr_service.store.base import Snapshot, restored
from memr_service.store.sqlite.snapshots import SqliteSnapshots

from benchmarks.bench import grown
from benchmarks.bench.figures import HEAD, Figure, figure
from benchmarks.report import Report, quick

RUN, D, L, N = "large", 384, 100, 64
AT_ONCE = 80
"""Prompts that are written at once."""
JOURNAL = 16 << 20
"""Bytes of journal after which a snapshot is taken."""
QUIET, REQUESTS, WARM = 200, 3_000, 10
"""Requests before snapshots are taken, most requests after, and requests that are not counted."""
FEW = SIZES.crossover
"""Prompts up to which there are no graphs."""
SNAPSHOTS = 3
"""Snapshots to wait for."""
FROZEN_S = 1e-4
"""The least that it takes to make a snapshot's arrays; shorter calls made none."""
PAUSE_MS = 100.0
"""How long the 99.9th percentile of requests may wait."""

Spans = list[tuple[float, float]]
"""When something began and ended."""


def make(url: str, prompts: int) -> None:
    """Put the run into an empty store."""
    config = resolve(
        RunConfig(preset="memory-r+", max_prompts=prompts, max_completions=L, storage="float16"), "memory-r+", "hashed"
    )
    state = State(config)
    state.memories = state.memories_for(D)
    memory = state.memories["success"]
    fill(memory, prompts)
    state.serial = state.stepless = prompts * L
    where = open_store(url)
    graphs = [grown.built(memory.prompts.vector_range(*one)) for one in grown.grown(prompts)]
    memory.prompts.graphs = graphs
    base = Snapshot(0, 1, state.freeze())
    run = restored(
        where.runs.restore(RUN, config.model_dump_json(), LAW, None, "2026-01-01T00:00:00.000+00:00", [], base)
    )
    for graph in graphs:
        where.index_files.save(run.uid, f"success-{graph.start}-{graph.stop}.hnsw", graph.save)
    where.close()


def fill(memory: Memory, prompts: int) -> None:
    """Write L completions under each of so many prompts."""
    source = grown.questions(prompts, seed=1)
    base = source.answers(source.take(AT_ONCE * L))
    for start in range(0, prompts, AT_ONCE):
        numbers = np.arange(start, min(start + AT_ONCE, prompts)).repeat(L)
        keys = [identity(grown.name(number), None) for number in numbers.tolist()]
        rows = np.roll(base[: len(numbers)], start % D + start // D, axis=1).astype(np.float16).astype(np.float32)
        writes = Writes.of([(item, number, False, False) for item, number in enumerate(numbers.tolist())])
        serials = start * L + np.arange(len(numbers))
        memory.apply(
            writes, keys, source.take(len(numbers) // L).repeat(L, axis=0), rows, serials, np.ones(len(numbers))
        )


def measured(url: str, prompts: int) -> dict[str, list[float]]:
    """Open the run in this process, and measure: see the figures."""
    live_state.SNAPSHOT_SHARE = 1 << 60
    frozen, saved, built = (
        spans_of(owner, name)
        for owner, name in ((live_state.LiveState, "_save"), (SqliteSnapshots, "save"), (IndexBuilds, "_build"))
    )
    source, rng = grown.questions(prompts, seed=2), np.random.default_rng(3)
    began = time.perf_counter()
    client = RewardClient.embedded(url, run=RUN, encoder="hashed", text_quota_bytes=0, snapshot_bytes=JOURNAL)
    waits: list[tuple[float, float]] = []

    def ask(new: int) -> None:
        names = [grown.name(at) for at in rng.choice(np.arange(prompts // 2, prompts), N - new, replace=False).tolist()]
        names += [f"New {len(waits)} {at}" for at in range(new)]
        vectors = source.take(N)
        sent = {"prompts": vectors, "completions": source.answers(vectors)}
        at = time.perf_counter()
        client.reward(names, [""] * N, np.ones(N), embeddings=sent)
        waits.append((at, time.perf_counter()))

    with client:
        ask(0)
        restart = time.perf_counter() - began
        resident = psutil.Process().memory_info().rss
        for _ in range(WARM + QUIET):
            ask(0)
        for _ in range(REQUESTS):
            ask(N // 2 if prompts > FEW else 0)
            if len(saved) >= SNAPSHOTS and (built or prompts <= FEW):
                break
        most = psutil.Process().memory_info().rss
    counted = waits[WARM + 1 :]

    def during(*spans: Spans) -> Spans:
        return [one for one in counted if any(meets(one, other) for some in spans for other in some)]

    busy = set(during(frozen, saved, built))
    return {
        "restart_s": [restart],
        "resident_gb": [resident / 1e9],
        "resident_most_gb": [most / 1e9],
        "snapshot_s": lengths(saved, 1.0),
        "freeze_ms": lengths([one for one in frozen if one[1] - one[0] > FROZEN_S], 1e3),
        "quiet_ms": lengths([one for one in counted if one not in busy], 1e3),
        "snapshot_wait_ms": lengths(during(frozen, saved), 1e3),
        "build_wait_ms": lengths(during(built), 1e3),
    }


def spans_of(owner: type, name: str) -> Spans:
    """When each call of a method begins and ends, from now on."""
    spans: Spans = []
    method: Callable[..., Any] = getattr(owner, name)

    @wraps(method)
    def noted(*args: Any) -> Any:
        began = time.perf_counter()
        try:
            return method(*args)
        finally:
            spans.append((began, time.perf_counter()))

    setattr(owner, name, noted)
    return spans


def meets(one: tuple[float, float], other: tuple[float, float]) -> bool:
    """Whether two spans overlap."""
    return one[0] < other[1] and other[0] < one[1]


def lengths(spans: Spans, unit: float) -> list[float]:
    """How long each span is, in 1 / unit seconds."""
    return [unit * (end - start) for start, end in spans]


def figures(prompts: int) -> list[Figure]:
    """Every figure, of a run with so many prompts."""
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/data"
        command = [sys.executable, "-m", "benchmarks.large_run", "--prompts", str(prompts)]
        subprocess.run([*command, "--make", url], check=True)
        found = json.loads(subprocess.check_output([*command, "--measure", url]))
    says = f"{prompts * L:,} completions in float16, 100 under each of {prompts:,} prompts"
    rows = [
        figure("large_restart_s", found["restart_s"], "s", f"until the first reward of a new process; {says}"),
        figure("large_resident_gb", found["resident_gb"], "GB", "resident after it"),
        figure("large_resident_most_gb", found["resident_most_gb"], "GB", "resident after some snapshots"),
        figure("large_snapshot_s", found["snapshot_s"], "s", "a snapshot, beside requests"),
        figure("large_freeze_ms", found["freeze_ms"], "ms", "of that, what the next request waits for"),
    ]
    when_of = {"quiet": "else", "snapshot_wait": "during a snapshot", "build_wait": "during a graph build"}
    for name, when in when_of.items():
        waits = found[f"{name}_ms"]
        if waits:
            says = f"64 completions of 64 prompts: wait {when}, of {len(waits)} requests"
            rows.append(figure(f"large_{name}_ms", waits, "ms", says))
            p999 = [float(np.quantile(waits, 0.999))]
            bound: dict[str, Any] = {} if name == "quiet" else {"floor": PAUSE_MS, "at_most": True}
            rows.append(figure(f"large_{name}_p999_ms", p999, "ms", "of those, the 99.9th percentile", **bound))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", type=int, default=2_000 if quick() else 10_000, help="prompts (default 10,000)")
    parser.add_argument("--make", metavar="URL", help=argparse.SUPPRESS)
    parser.add_argument("--measure", metavar="URL", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.make:
        make(asked.make, asked.prompts)
    elif asked.measure:
        print(json.dumps(measured(asked.measure, asked.prompts)))
    else:
        report = Report("bench-large")
        print(HEAD)
        for one in figures(asked.prompts):
            report.rows.append(one.row)
            print(one, flush=True)
        print(report.write())


if __name__ == "__main__":
    main()
