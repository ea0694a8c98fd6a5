"""Is a task near a model's reach? The distribution of pass rates over its training questions.

    python -m benchmarks.pass_rates                 # needs `make setup-smollm2`; some minutes
    python -m benchmarks.pass_rates --publish       # writes docs/results/pass-rates.json, too

SmolLM2, before and after its warm start, answers questions of `stories` 16 times each.
"""

from __future__ import annotations

import time
from argparse import ArgumentParser, RawDescriptionHelpFormatter

import numpy as np
import torch

from benchmarks.published import publish, table
from benchmarks.report import quick
from examples.grpo.config import Config
from examples.grpo.rewards import judged
from examples.grpo.rollout import rollout
from examples.grpo.train import make_policy, make_task

GROUP, STEP = 16, 8
INTERVALS = {
    "none": (-1.0, 0.0), "up to 1/4": (0.0, 0.25), "up to 1/2": (0.25, 0.5), "up to 3/4": (0.5, 0.75),
    "below 1": (0.75, 0.99), "all": (0.99, 1.0),
}  # fmt: skip
"""Name -> (low, high] of pass rates."""


def main() -> None:
    arguments = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    arguments.add_argument("--questions", type=int, default=STEP if quick() else 64)
    arguments.add_argument("--lessons", type=int, nargs="+", help="steps of warm starts (default: 0, and the task's)")
    arguments.add_argument("--publish", action="store_true", help="write the table of docs/results")
    asked = arguments.parse_args()
    began, rows = time.perf_counter(), []
    for lessons in asked.lessons or (0, None):
        config = Config(model="smollm2", task="stories", lessons=lessons, memory=None, max_completion=48)
        task = make_task(config)
        policy = make_policy(config, task)
        found = []
        for start in range(0, asked.questions, STEP):
            torch.manual_seed(start)
            sampled = rollout(policy, list(task.train[start : start + STEP]), GROUP, config.max_completion, 1.0)
            found += np.reshape(judged(task, sampled), (-1, GROUP)).mean(1).tolist()
        rates = np.array(found)
        shares = {name: float(((rates > low) & (rates <= high)).mean()) for name, (low, high) in INTERVALS.items()}
        rows.append({"steps": "the task's" if lessons is None else str(lessons), "mean": float(rates.mean()), **shares})
        told = "".join(f", {name}: {share:.0%}" for name, share in shares.items())
        print(f"warm start of {rows[-1]['steps']} steps: mean {rates.mean():.3f}{told}", flush=True)
    if asked.publish:
        cells = {
            "steps of the warm start": "{steps}",
            "mean": "{mean:.2f}",
            **{one: f"{{{one}:.0%}}" for one in INTERVALS},
        }
        title = (
            f"Share of {asked.questions} word problems by pass rate: SmolLM2-135M, {GROUP} completions each, "
            "before and after its warm start"
        )
        made = table(title, cells, rows)
        publish("pass-rates", command="python -m benchmarks.pass_rates", seconds=time.perf_counter() - began, **made)


if __name__ == "__main__":
    main()
