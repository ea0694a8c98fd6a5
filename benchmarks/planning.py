"""How long does a plan take over HTTP, and what do pass rates cost per completion?

    python -m benchmarks.planning

Plans: a server in another process, a pool that is set in parts, and a run that knows half of it. The first plan after a
pool was set looks all prompts up, so it is not counted. Each figure is the median of several plans, between which the
run goes on: a step of 1,024 completions, and a tenth of a second for the trainer's update, in which the service applies
the step to its memories.

Pass rates: what a run of an older law, which has none, does not do for a step of 64 groups of 16: the digests by which
runs know the same text, the pass rate before the request, which the response names, and the counting. Processor time of
30 steps, with the steps of two runs in turns: one that knows nothing at first, and one with 100,000 prompts.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
from memr_client import RewardClient
from memr_service.engine.inputs import identity, text_digests
from memr_service.state.pass_rates import PassRates

from benchmarks.published import publish
from benchmarks.timings import COLUMNS, a_row

sys.path.append(str(Path(__file__).parents[1] / "tests"))
from support.serving import serving

SIZES = {100_000: 20.0, 1_000_000: 200.0}
"""Prompts of the pool -> milliseconds that a plan may take."""
N, GROUP = 64, 16
PLANS = 15
UPDATE_S = 0.1
"""Seconds of the trainer's update, between the rewards of a step and the plan of the next."""
STEPS = 30
KNOWN = (0, 100_000)
"""Prompts that are known before."""
DIMENSION = 8
"""Embeddings are sent and small: they are not what is measured."""
QUESTION = "A train leaves the station at noon and travels at sixty kilometres an hour. " * 4
WARM = 6
"""Steps before those that count."""


def plans(size: int, url: str) -> list[float]:
    """Milliseconds of each plan of 64 of so many prompts."""
    run, rng = f"run-{size}", np.random.default_rng(0)
    ids = [f"question-{number}" for number in range(size)]
    with RewardClient(url, run=run) as client:
        client.create_run(run, preset="memory-r")
        known = size // 2
        right = rng.binomial(8, rng.beta(0.5, 0.5, known)).tolist()
        client.add_prior(run, right, [8] * known, prompt_ids=ids[:known])
        client.set_pool(run, ids)
        picks = client.plan(run, N, GROUP).picks
        took = []
        for step in range(PLANS):
            send(client, [one.prompt_id for one in picks], step)
            time.sleep(UPDATE_S)
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


def extra_per_completion() -> dict[int, list[float]]:
    """Microseconds of processor time that pass rates add to a completion, by how many prompts were known before."""
    took: dict[int, list[float]] = {known: [] for known in KNOWN}
    runs = {known: starting_from(known) for known in KNOWN}
    for step in range(WARM + STEPS):
        for known, rates in runs.items():
            took[known].append(1e6 * counted(rates, step) / (N * GROUP))
    return {known: values[WARM:] for known, values in took.items()}


def starting_from(known: int) -> PassRates:
    """Pass rates of prompts with text."""
    rates, prompts = PassRates(0.5, GROUP), [question(number) for number in range(known)]
    if known:
        keys = np.frombuffer(b"".join(identity(one, None) for one in prompts), np.uint8).reshape(known, -1)
        rates.start_from(keys, text_digests(prompts), np.full(known, 2.0), np.full(known, 2.0))
    rates.end_record(1)
    return rates


def question(number: int) -> str:
    """A prompt of some hundred characters."""
    return f"{QUESTION} Variant {number}."


def counted(rates: PassRates, step: int) -> float:
    """Processor time of what pass rates add to a step."""
    rng = np.random.default_rng(step)
    prompts = [question(number) for number in rng.choice(2000, N, replace=False) for _ in range(GROUP)]
    keys, outcomes = [identity(one, None) for one in prompts], rng.integers(2, size=len(prompts)).astype(float)
    began = time.process_time()
    texts = text_digests(prompts)
    rates.shares(keys, texts)
    rates.count(keys, outcomes, texts, step, step)
    rates.end_record(step + 2)
    return time.process_time() - began


def main() -> None:
    began = time.perf_counter()
    rows = []
    with serving() as url:
        for size, wanted in SIZES.items():
            took = plans(size, url)
            rows.append(a_row(f"plan of {N} of {size:,} prompts", took, "ms", wanted))
    for known, values in extra_per_completion().items():
        rows.append(a_row(f"pass rates, per completion, {known:,} prompts known before", values, "µs", 1.0))
    title = "A plan over HTTP, and what pass rates add to a request: medians, and the 10th and 90th percentile"
    publish("planning", title, "python -m benchmarks.planning", COLUMNS, rows, seconds=time.perf_counter() - began)


if __name__ == "__main__":
    main()
