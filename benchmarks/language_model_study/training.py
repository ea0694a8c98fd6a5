"""One training of the study. It continues from its last checkpoint, if it was stopped before."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, NamedTuple

from memr_client import RewardClient

from benchmarks.experiment import training as experiment
from benchmarks.language_model_study.arms import ARMS
from examples.grpo import checkpoint

FOLDER = Path("reports/language-model-study")
RUN, PRIOR = "training", "prior"
SAME: dict[str, Any] = {
    "task": "stories",
    "prompts_per_step": 8,
    "group_size": 16,
    "micro_batch": 16,
    "max_completion": 48,
    "learning_rate": 1e-5,
    "kl": 0.0,
    "memory": None,
    "encoder": "hashed",
    "eval_every": 15,
    "eval_temperature": 1.0,
    "save_every": 5,
}
"""Fields of `Config` that all arms have."""


class Training(NamedTuple):
    """What is trained."""

    arm: str
    seed: int
    other: int
    """The seed of the training that a prior comes from."""
    model: str
    steps: int
    changes: tuple[tuple[str, Any], ...] = ()
    """Further fields of `Config`, for a dry run or another model."""
    folder: Path = FOLDER

    @property
    def key(self) -> str:
        """Its name in the file of finished trainings."""
        return f"{self.arm} {self.model} {self.seed}"

    @property
    def place(self) -> Path:
        """Where it keeps its checkpoint until it is finished."""
        return self.folder / "unfinished" / self.key.replace(" ", "-").replace("/", "-")

    @property
    def run_file(self) -> Path:
        """Where it leaves its run, if another one may start from it."""
        return self.folder / "runs" / f"{self.place.name}.memr"

    @property
    def teacher(self) -> Training | None:
        """The training that must be finished before."""
        arm = ARMS[self.arm].prior_of
        return None if arm is None else self._replace(arm=arm, seed=self.other, other=self.seed)


def fields(training: Training) -> dict[str, Any]:
    """Fields of the training's `Config`."""
    own = {"model": training.model, "seed": training.seed, "steps": training.steps}
    places = {"output": training.place, "memory_run": RUN}
    return {**SAME, **own, **places, **ARMS[training.arm].fields, **dict(training.changes)}


def train_one(training: Training) -> dict[str, Any]:
    """Train, keep the run if another training may start from it, and leave nothing else.

    Raises:
        FileNotFoundError: the run that it starts from is not there.
    """
    store = f"sqlite:///{training.place / 'memory'}"
    if not (training.place / checkpoint.NAME).exists():
        shutil.rmtree(training.place, ignore_errors=True)
        if (teacher := training.teacher) is not None:
            with RewardClient.embedded(store, run=PRIOR, encoder="hashed") as client:
                client.import_run(PRIOR, teacher.run_file)
    row = experiment.train_one((training.arm, fields(training)))
    if training.arm in {one.prior_of for one in ARMS.values()}:
        training.run_file.parent.mkdir(parents=True, exist_ok=True)
        with RewardClient.embedded(store, run=RUN, encoder="hashed") as client:
            client.export_run(RUN, training.run_file)
    shutil.rmtree(training.place)
    return {**row, "model": training.model}
