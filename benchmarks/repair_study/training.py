"""One training of the study, and its row of results."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from memr_client import RewardClient
from memr_service.engine.inputs import identity
from memr_service.run import archive

from benchmarks.experiment.arms import learned
from benchmarks.repair_study.arms import REPAIRS, judge_of
from benchmarks.repair_study.labels import Kind, Labels, labelled
from examples.grpo.config import Config
from examples.grpo.train import Result, train

FOLDER = Path("reports/repair-study")
RUN = "training"
GROUP = 16


@dataclass(frozen=True)
class Training:
    """One training."""

    arm: str
    noise: float
    kind: Kind
    seed: int
    masked: tuple[int, ...] = ()
    """Groups that the placebo masks in each step."""
    steps: int | None = None
    """Fewer than usual, for tests."""
    repair: dict[str, Any] | None = None
    """Gates in place of the arm's."""


def train_one(given: Training, folder: Path = FOLDER) -> dict[str, Any]:
    """Train one arm."""
    begun = time.perf_counter()
    noise = 0.0 if given.arm == "clean" else given.noise
    fields: dict[str, Any] = {"model": "tiny", "task": "dial", "seed": given.seed, "group_size": GROUP}
    if given.steps:
        fields |= {"steps": given.steps, "eval_questions": 8, "eval_every": given.steps}
    labels = labelled(Config.model_validate(fields), noise, given.kind)
    store = folder / "stores" / f"{given.arm}-{given.noise:g}-{given.kind}-{given.seed}"
    shutil.rmtree(store, ignore_errors=True)
    repairs = given.arm in REPAIRS
    if repairs:
        memory = {"preset": "memory-r+", "components": {"exploit": 0.0}, "store_text": False}
        repair = given.repair or REPAIRS[given.arm]
        fields |= {"memory": {**memory, "repair": repair}, "memory_store": store, "memory_run": RUN}
    config = Config.model_validate(fields)
    result = train(config, task=labels.task, judge=judge_of(given.arm, labels, GROUP, given.masked))
    masked = repaired_groups(store, labels) if repairs else [(0, 0)] * (len(result.rows) - 1)
    shutil.rmtree(store, ignore_errors=True)
    return row(given, labels, result, masked, time.perf_counter() - begun)


def repaired_groups(store: Path, labels: Labels) -> list[tuple[int, int]]:
    """(repaired groups, those of them whose labels are wrong) of each step."""
    wrong, file = {identity(text, None) for text in labels.wrong}, store / "run.memr"
    with RewardClient.embedded(f"sqlite:///{store}", run=RUN, encoder="hashed") as client:
        client.export_run(RUN, file)
    found = []
    with file.open("rb") as opened:
        header = archive.read_header(opened)
        for record, _ in archive.read_records(opened, archive.read_base(opened, header)):
            why = [] if record.effects.repair is None else record.effects.repair.why
            keys = [record.batch.keys[item] for item in range(0, len(why), GROUP) if why[item] is not None]
            found.append((len(keys), sum(key in wrong for key in keys)))
    return found


def row(
    given: Training, labels: Labels, result: Result, repaired: Sequence[tuple[int, int]], seconds: float
) -> dict[str, Any]:
    """What the report needs of a training."""
    return {
        "method": given.arm,
        "noise": given.noise,
        "kind": given.kind,
        "seed": given.seed,
        **learned(result),
        "accepts_wrong": round(labels.accepts_wrong, 4),
        "rejects_right": round(labels.rejects_right, 4),
        "repaired": [groups for groups, _ in repaired],
        "rightly": [groups for _, groups in repaired],
        "seconds": round(seconds, 1),
    }
