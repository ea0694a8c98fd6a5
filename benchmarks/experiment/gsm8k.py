"""The same methods and controls with real models on GSM8K. Needs one GPU and access to the models' hub.

    python -m benchmarks.experiment.gsm8k                        # 2 models, every method, 3 seeds: some weeks of a GPU
    python -m benchmarks.experiment.gsm8k --methods r1 random contrast --steps 100
    python -m benchmarks.experiment.gsm8k --dry-run              # the tiny model, two steps: does every method start?

Qwen models also improve with random rewards (Shao et al. 2025, arXiv 2506.10947), so one of the two models is from
another family. Trainings run one after another; after an interruption, finished ones are skipped.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import Any

from benchmarks.experiment import tables
from benchmarks.experiment.methods import METHODS
from benchmarks.experiment.plan import Trainings, keyed
from benchmarks.experiment.pool import run_all
from benchmarks.experiment.results import Results
from benchmarks.experiment.training import train_one

MODELS = ("Qwen/Qwen2.5-0.5B-Instruct", "tiiuae/Falcon3-1B-Instruct")
LONG: dict[str, dict[str, Any]] = {
    "r1-kl": {"kl": 0.08},
    "memory-r+": {"memory": "memory-r+"},
    "official-memory-r+": {"memory": "official-memory-r+"},
}
"""The paper's KL weight is 0.04, and its training is long enough for the presets' own warm-up."""


def main() -> None:
    arguments = ArgumentParser(description=__doc__.partition("\n")[0])
    arguments.add_argument("--models", nargs="+", default=MODELS)
    arguments.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    arguments.add_argument("--seeds", type=int, default=3)
    arguments.add_argument("--steps", type=int, help="number of steps (default: one epoch, 467 steps)")
    arguments.add_argument("--data", help="folder with GSM8K's train.jsonl and test.jsonl (default: the hub)")
    arguments.add_argument("--dry-run", action="store_true")
    asked = arguments.parse_args()
    for model in ("tiny",) if asked.dry_run else asked.models:
        kept = Path("reports/experiment") / f"gsm8k-{model.replace('/', '-')}.jsonl"
        planned = trainings(model, asked)
        rows = run_all(planned, train_one, kept, processes=1)
        results = Results.of("clock" if asked.dry_run else "gsm8k", rows.values())
        print(f"## {model}\n\n{tables.overview(results)}\n\n{tables.collapse(results)}\n")


def trainings(model: str, asked: Namespace) -> Trainings:
    """Every method on every seed, ordered by seed."""
    fields: dict[str, Any] = {"model": model, "task": "gsm8k", "data": asked.data, "steps": asked.steps}
    seeds = range(asked.seeds)
    if model == "tiny":
        fields, seeds = {"model": model, "task": "clock", "steps": 2, "eval_questions": 10}, range(1)
    return dict(
        keyed(method, {**fields, "seed": seed, "memory": None, **METHODS[method].changes, **LONG.get(method, {})})
        for seed in seeds
        for method in asked.methods
    )


if __name__ == "__main__":
    main()
