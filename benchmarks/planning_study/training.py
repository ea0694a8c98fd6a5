"""One training of the study, and its row of results."""

from __future__ import annotations

import random
import shutil
import time
from pathlib import Path
from typing import Any

from memr_client import RewardClient
from memr_service.run import archive
from memr_service.state.pass_rates import PassRates

from examples.grpo.config import Config
from examples.grpo.tasks.dial_pool import DialPool
from examples.grpo.train import Result, train

FOLDER = Path("reports/planning-study")
RUN, PRIOR = "training", "prior"
COUNTS_ONLY: dict[str, Any] = {"preset": "memory-r+", "components": {"exploit": 0.0}, "store_text": False}
"""A memory that counts outcomes and pays nothing."""
GROUP, COMPLETIONS = 16, 128
"""Completions of a group, and of a step."""
SMALL_GROUP = 4

ABOUT = {
    "uniform": "questions in a new random order each epoch, groups of 16",
    "uniform-4": "the same, groups of 4",
    "own": "planned from the training's own outcomes",
    "prior": "planned, starting from the pass rates of another seed's uniform training",
    "placebo": "the same, but the pass rates are dealt out to the questions at random",
}


def fields(arm: str, dead_share: float, seed: int) -> dict[str, Any]:
    """Fields of `Config` for a training."""
    size = SMALL_GROUP if arm == "uniform-4" else GROUP
    return {
        "model": "tiny",
        "task": "dial-pool",
        "dead_share": dead_share,
        "seed": seed,
        "group_size": size,
        "prompts_per_step": COMPLETIONS // size,
        "memory": COUNTS_ONLY,
        "plan": not arm.startswith("uniform"),
    }


def run_file(dead_share: float, seed: int) -> Path:
    """Where a uniform training leaves its run."""
    return FOLDER / "runs" / f"{dead_share:g}-{seed}.memr"


def train_one(given: tuple[str, float, int, int]) -> dict[str, Any]:
    """Train one arm.

    Args:
        given: arm, share of dead questions, seed, and the seed of the uniform training that a prior comes from.
    """
    arm, dead_share, seed, other = given
    store = FOLDER / "stores" / f"{arm}-{dead_share:g}-{seed}"
    shutil.rmtree(store, ignore_errors=True)
    begun = time.perf_counter()
    changes: dict[str, Any] = {"memory_store": store, "memory_run": RUN}
    if arm in ("prior", "placebo"):
        bring(store, run_file(dead_share, other), dead_share, seed if arm == "placebo" else None)
        changes["prior_run"] = [PRIOR]
    result = train(Config.model_validate({**fields(arm, dead_share, seed), **changes}))
    if arm == "uniform":
        with RewardClient.embedded(f"sqlite:///{store}", run=RUN, encoder="hashed") as client:
            run_file(dead_share, seed).parent.mkdir(parents=True, exist_ok=True)
            client.export_run(RUN, run_file(dead_share, seed))
    shutil.rmtree(store, ignore_errors=True)
    return row(arm, dead_share, seed, result, time.perf_counter() - begun)


def bring(store: Path, file: Path, dead_share: float, shuffle: int | None) -> None:
    """Put an earlier run into a store under the name PRIOR.

    Args:
        shuffle: a seed by which its pass rates are dealt out to the questions at random; None: they stay.
    """
    with RewardClient.embedded(f"sqlite:///{store}", run=PRIOR, encoder="hashed") as client:
        if shuffle is None:
            client.import_run(PRIOR, file)
            return
        right, n = first_visits(file, dead_share)
        order = list(range(len(n)))
        random.Random(f"placebo {shuffle}").shuffle(order)
        texts = [question.text for question in DialPool(dead_share).train]
        dealt = [(texts[place], right[number], n[number]) for place, number in enumerate(order) if n[number]]
        client.create_run(PRIOR, COUNTS_ONLY)
        for text, good, all_of in dealt:  # a visit each, so that the run is a prior like any other
            outcomes = [1.0] * good + [0.0] * (all_of - good)
            client.reward([text] * all_of, ["-"] * all_of, outcomes, step=order.index(texts.index(text)))


def first_visits(file: Path, dead_share: float) -> tuple[list[int], list[int]]:
    """Right and all completions of each question's first visits in an exported run."""
    from memr_service.engine.inputs import identity

    with file.open("rb") as opened:
        header = archive.read_header(opened)
        rates = PassRates(0.5, GROUP)
        for record, _ in archive.read_records(opened, archive.read_base(opened, header)):
            rates.follow(record.batch, record.position)
    right, n = [], []
    for question in DialPool(dead_share).train:
        place = rates.row(identity(question.text, None))
        good, bad = (0, 0) if place is None else rates.table[["first_right", "first_wrong"]][place].tolist()
        right.append(good)
        n.append(good + bad)
    return right, n


def row(arm: str, dead_share: float, seed: int, result: Result, seconds: float) -> dict[str, Any]:
    """What the report needs of a training."""
    steps = result.rows[1:]
    spread = [1 - float(one["zero_variance_outcome"] or 0.0) for one in steps]
    return {
        "method": arm,
        "dead_share": dead_share,
        "seed": seed,
        "final": round(result.accuracy, 4),
        "area": round(result.area, 4),
        "evaluated": [step for step, _ in result.curve],
        "accuracy": [round(accuracy, 4) for _, accuracy in result.curve],
        "spread": [round(one, 4) for one in spread],
        "completions": COMPLETIONS * len(steps),
        "seconds": round(seconds, 1),
    }
