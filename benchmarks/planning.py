"""How long does a plan take over HTTP, and what do pass rates cost per completion?

    python -m benchmarks.planning

Plans: a server in another process, a pool that is set in parts, and a run that knows half of it. The first plan after a
pool was set looks all prompts up, so it is not counted. Each figure is the median of several plans, between which the
run goes on.

Pass rates: the same steps of 64 groups of 16 to two runs in this process, one with pass rates and one of an older law,
which has none. Of each pair of requests the difference in processor time is taken, and of these the median. It includes
the pass rate before the request, which the response names, and the digests by which runs know the same text.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from memr_client import RewardClient
from memr_client.schemas import RunConfig
from memr_service.run.presets import resolve
from memr_service.state.law import PASS_RATES

from benchmarks.report import commit, machine

sys.path.append(str(Path(__file__).parents[1] / "tests"))
from support.in_process import InProcess
from support.serving import serving

SIZES = {100_000: 20.0, 1_000_000: 200.0}
"""Prompts of the pool -> milliseconds that a plan may take."""
N, GROUP = 64, 16
PLANS = 15
PAIRS = 60
DIMENSION = 8
"""Embeddings are sent and small: they are not what is measured."""
QUESTION = "A train leaves the station at noon and travels at sixty kilometres an hour. " * 4
WARM = 6
"""Pairs of requests before those that count."""
RESULT = Path(__file__).parents[1] / "docs" / "results" / "planning.json"


def plans(size: int, url: str) -> list[float]:
    """Milliseconds of each plan of 64 of so many prompts."""
    run, rng = f"run-{size}", np.random.default_rng(0)
    ids = [f"question-{number}" for number in range(size)]
    with RewardClient(url, run=run) as client:
        client.create_run(run)
        known = size // 2
        right = rng.binomial(8, rng.beta(0.5, 0.5, known)).tolist()
        client.add_prior(run, right, [8] * known, prompt_ids=ids[:known])
        client.set_pool(run, ids)
        picks = client.plan(run, N, GROUP).picks
        took = []
        for step in range(PLANS):
            send(client, [one.prompt_id for one in picks], step)
            began = time.perf_counter()
            picks = client.plan(run, N, GROUP).picks
            took.append(1e3 * (time.perf_counter() - began))
    return took


def send(client: RewardClient, ids: list[str], step: int) -> None:
    """A step with a group of each prompt."""
    rng = np.random.default_rng(step)
    names = [name for name in ids for _ in range(GROUP)]
    vectors = {side: rng.normal(size=(len(names), DIMENSION)) for side in ("prompts", "completions")}
    client.reward(
        names, names, rng.integers(2, size=len(names)).tolist(), prompt_ids=names, step=step, embeddings=vectors
    )


def extra_per_completion() -> list[float]:
    """Microseconds of processor time that pass rates add to a completion, of each pair of requests."""
    config = resolve(RunConfig(preset="memory-r"), "memory-r", "hashed").model_dump_json()
    with InProcess("memory:") as service:
        for law in (PASS_RATES - 1, PASS_RATES):
            service.store.runs.create(f"law-{law}", config, law, None, "2025-01-01T00:00:00Z")
        found = []
        for step in range(WARM + PAIRS):
            body = a_step(step)
            laws = (PASS_RATES, PASS_RATES - 1) if step % 2 else (PASS_RATES - 1, PASS_RATES)
            took = {law: seconds(service, body | {"run_id": f"law-{law}"}) for law in laws}
            found.append(1e6 * (took[PASS_RATES] - took[PASS_RATES - 1]) / (N * GROUP))
        return found[WARM:]


def a_step(step: int) -> dict[str, Any]:
    """A request of N groups of questions of some hundred characters, half of which come again."""
    rng = np.random.default_rng(step)
    prompts = [f"{QUESTION} Variant {number}." for number in rng.choice(2000, N, replace=False) for _ in range(GROUP)]
    return {
        "prompts": prompts,
        "completions": [f"{step}.{item}" for item in range(len(prompts))],
        "outcomes": rng.integers(2, size=len(prompts)).tolist(),
        "step": step,
        "embeddings": {
            side: rng.normal(size=(len(prompts), DIMENSION)).tolist() for side in ("prompts", "completions")
        },
    }


def seconds(service: InProcess, body: dict[str, Any]) -> float:
    """Processor time of a request."""
    began = time.process_time()
    service.reward(**body)
    return time.process_time() - began


def main() -> None:
    began = time.perf_counter()
    rows = []
    with serving() as url:
        for size, wanted in SIZES.items():
            took = plans(size, url)
            rows.append(a_row(f"plan of {N} of {size:,} prompts", took, "ms", wanted))
    rows.append(a_row("pass rates, per completion", extra_per_completion(), "µs", 1.0))
    for row in rows:
        print(f"{row['what']:36}{row['median']:9.2f} ({row['low']:.2f} to {row['high']:.2f}) {row['unit']}", end="")
        print(f"  wanted: at most {row['wanted']:g}")
    result = {
        "title": "A plan over HTTP, and what pass rates add to a request: medians, and the 10th and 90th percentile",
        "command": "python -m benchmarks.planning",
        "commit": commit()[:8],
        "machine": machine(),
        "seconds": round(time.perf_counter() - began),
        "quick": False,
        "columns": [
            {"heading": "", "cell": "{what}"},
            {"heading": "median", "cell": "{median:.3g} {unit}"},
            {"heading": "10 % to 90 %", "cell": "{low:.3g} to {high:.3g}"},
            {"heading": "wanted, at most", "cell": "{wanted:g} {unit}"},
        ],
        "rows": rows,
    }
    RESULT.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n", "utf-8")


def a_row(what: str, values: list[float], unit: str, wanted: float) -> dict[str, Any]:
    """A line of the table."""
    low, high = np.quantile(values, [0.1, 0.9]).round(3).tolist()
    return {
        "what": what, "median": round(statistics.median(values), 3), "low": low, "high": high, "unit": unit,
        "wanted": wanted,
    }  # fmt: skip


if __name__ == "__main__":
    main()
