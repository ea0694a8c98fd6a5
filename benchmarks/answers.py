"""What do answers cost per completion, and how long does it take to look for suspects?

    python -m benchmarks.answers

Answers: what a run of an older law, which has none, does not do for a step of 64 groups of 16: answers and references
in one form, and the counting. Processor time of each step. Half of the completions of a prompt are right, the others
give wrong answers, of which few are frequent. The prompts are drawn from a pool; those that were not visited lately are
held as bytes. Before the steps that count, each prompt has been visited several times.

Suspects: the references of all prompts of the larger pool, from the copy of what two runs know to the sorted list.
"""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
from memr_service.engine.embedding import answers_of
from memr_service.insight.suspects.find import Known, find
from memr_service.state.answers import Answers
from memr_service.state.decisions import Decisions
from memr_service.state.record import Batch

from benchmarks.published import publish
from benchmarks.timings import COLUMNS, a_row

POOLS = {
    1000: "the pool has 1,000 prompts",
    10_000: "the pool has 10,000 prompts, most of them held as bytes",
}
GROUPS, GROUP = 64, 16
VISITS = 4
"""Visits of each prompt before the steps that count, on average."""
STEPS = 30
WANTED_US = 2.0
WANTED_S = 10.0


def step(number: int, pool: int) -> tuple[Batch, list[str | None], list[str | None]]:
    """A step's batch without its answers and references, and these."""
    rng = np.random.default_rng([pool, number])
    chosen = np.repeat(rng.choice(pool, GROUPS, replace=False), GROUP)
    right = rng.random(len(chosen)) < 0.5
    said = np.where(right, chosen, chosen + rng.zipf(1.6, len(chosen)) % 50 + 1)
    batch = replace(
        Batch.empty(1),
        keys=[int(one).to_bytes(16, "big") for one in chosen],
        outcomes=right.astype(float),
        texts=np.repeat(chosen.astype("<i8").view(np.uint8).reshape(-1, 8), 4, axis=1),
        step=number,
    )
    return batch, [str(one) for one in said], [str(one) for one in chosen]


def count(answers: Answers, number: int, pool: int) -> float:
    """Processor time of what answers add to a step."""
    batch, said, references = step(number, pool)
    began = time.process_time()
    columns = answers_of(None, said, references, [str(one) for one in range(len(said))])
    answers.count(replace(batch, **columns), number, number * len(said))
    return time.process_time() - began


def main() -> None:
    """Measure, print the rows and write the result."""
    began = time.perf_counter()
    rows, known = [], Answers(0.5, None)
    for pool, what in POOLS.items():
        known, before = Answers(0.5, None), VISITS * pool // GROUPS
        took = [1e6 * count(known, number, pool) / (GROUPS * GROUP) for number in range(before + STEPS)]
        rows.append(a_row(f"answers, per completion; {what}", took[before:], "µs", WANTED_US))
    runs = [Known(name, 1, known.packed(), [], Decisions([])) for name in ("run", "other")]
    took = []
    for _ in range(3):
        start = time.process_time()
        find(runs[0], runs[1:], 0.5, 0.1, 200)
        took.append(time.process_time() - start)
    rows.append(a_row(f"suspects among the references of {len(known):,} prompts, two runs", took, "s", WANTED_S))
    title = "What answers add to a request, and a search for suspects: medians, and the 10th and 90th percentile"
    publish("answers", title, "python -m benchmarks.answers", COLUMNS, rows, seconds=time.perf_counter() - began)


if __name__ == "__main__":
    main()
