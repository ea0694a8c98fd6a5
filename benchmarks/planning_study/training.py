"""One training of the study, and its row of results."""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from memr_client import RewardClient
from memr_service.run import archive
from memr_service.state.pass_rates import PassRates

from benchmarks.experiment.arms import learned
from benchmarks.planning_study.arms import ARMS
from benchmarks.planning_study.registration import Pool, fields_of
from examples.grpo.config import Config
from examples.grpo.train import Result, make_task, train

FOLDER = Path("reports/planning-study")
RUN, PRIOR = "training", "prior"
COUNTS_ONLY: dict[str, Any] = {"preset": "memory-r+", "components": {"exploit": 0.0}, "store_text": False}
"""A memory that counts outcomes and pays nothing."""
GROUP, COMPLETIONS, STEPS = 16, 128, 60
"""Completions of a group and of a step, and steps of a training."""


class Training(NamedTuple):
    """What is trained."""

    arm: str
    pool: Pool
    seed: int
    other: int
    """The seed of the training that a prior comes from."""
    steps: int = STEPS

    @property
    def key(self) -> str:
        """Its name in the file of finished trainings."""
        return f"{self.arm} {_name(self.pool)} {self.seed}"

    @property
    def teacher(self) -> Training | None:
        """The training that must be finished before."""
        arm = ARMS[self.arm].prior_of
        return None if arm is None else self._replace(arm=arm, seed=self.other, other=self.seed)

    @property
    def run_file(self) -> Path:
        """Where it leaves its run, if another one may start from it."""
        arm = "" if self.arm == "uniform" else f"{self.arm}-"
        return FOLDER / "runs" / f"{arm}{_name(self.pool)}-{self.seed}.memr"


def _name(pool: Pool) -> str:
    return pool if isinstance(pool, str) else f"{pool:g}"


def config_of(training: Training) -> Config:
    """The training's config, without the place of its memory."""
    arm = ARMS[training.arm]
    size = arm.fields.get("group_size", GROUP)
    given = {"model": "tiny", "seed": training.seed, "steps": training.steps, "group_size": size}
    given |= {"prompts_per_step": COMPLETIONS // size, "memory": COUNTS_ONLY, **fields_of(training.pool), **arm.fields}
    if arm.prior_of is not None:
        given["memory"] = {**COUNTS_ONLY, "prior_runs": [{"run": PRIOR, "at": arm.prior_at}]}
    return Config.model_validate(given)


def train_one(training: Training) -> dict[str, Any]:
    """Train, and keep the run if another training may start from it.

    Raises:
        FileNotFoundError: the run that it starts from is not there.
    """
    arm = ARMS[training.arm]
    store = FOLDER / "stores" / training.key.replace(" ", "-")
    shutil.rmtree(store, ignore_errors=True)
    begun = time.perf_counter()
    if (teacher := training.teacher) is not None:
        bring(store, teacher, training.seed if arm.dealt else None)
    config = config_of(training).model_copy(update={"memory_store": store, "memory_run": RUN})
    result = train(config, arm.make_sampling)
    if training.arm in {one.prior_of for one in ARMS.values()}:
        training.run_file.parent.mkdir(parents=True, exist_ok=True)
        with RewardClient.embedded(f"sqlite:///{store}", run=RUN, encoder="hashed") as client:
            client.export_run(RUN, training.run_file)
    shutil.rmtree(store, ignore_errors=True)
    return row(training, result, time.perf_counter() - begun)


def bring(store: Path, teacher: Training, shuffle: int | None) -> None:
    """Put an earlier training's run into a store under the name PRIOR.

    Args:
        shuffle: a seed by which its pass rates are dealt out to the questions at random; None: they stay.
    """
    with RewardClient.embedded(f"sqlite:///{store}", run=PRIOR, encoder="hashed") as client:
        if shuffle is None:
            client.import_run(PRIOR, teacher.run_file)
            return
        texts = [question.text for question in make_task(config_of(teacher)).train]
        right, n = first_visits(teacher.run_file, texts)
        order = list(range(len(n)))
        random.Random(f"placebo {shuffle}").shuffle(order)
        dealt = [(texts[place], right[number], n[number]) for place, number in enumerate(order) if n[number]]
        client.create_run(PRIOR, COUNTS_ONLY)
        for text, good, all_of in dealt:  # a visit each, so that the run is a prior like any other
            outcomes = [1.0] * good + [0.0] * (all_of - good)
            client.reward([text] * all_of, ["-"] * all_of, outcomes, step=order.index(texts.index(text)))


def first_visits(file: Path, texts: Sequence[str]) -> tuple[list[int], list[int]]:
    """Right and all completions of each question's first visits in an exported run."""
    from memr_service.engine.inputs import identity

    with file.open("rb") as opened:
        header = archive.read_header(opened)
        rates = PassRates(0.5, GROUP)
        for record, _ in archive.read_records(opened, archive.read_base(opened, header)):
            rates.follow(record.batch, record.position)
    right, n = [], []
    for text in texts:
        place = rates.row(identity(text, None))
        good, bad = (0, 0) if place is None else rates.table[["first_right", "first_wrong"]][place].tolist()
        right.append(good)
        n.append(good + bad)
    return right, n


def row(training: Training, result: Result, seconds: float) -> dict[str, Any]:
    """What the report needs of a training."""
    steps = result.rows[1:]
    spread = [1 - float(one["zero_variance_outcome"] or 0.0) for one in steps]
    return {
        "method": training.arm,
        "dead_share": training.pool,
        "seed": training.seed,
        **learned(result),
        "spread": [round(one, 4) for one in spread],
        "updates": sum("loss" in one for one in steps),
        "completions": COMPLETIONS * len(steps),
        "seconds": round(seconds, 1),
    }
