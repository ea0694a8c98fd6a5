"""The trainings of an experiment."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from benchmarks.experiment.methods import METHODS, fields
from benchmarks.experiment.registration import Registration

Trainings = dict[str, tuple[str, dict[str, Any]]]
"""Key -> arguments of `training.train_one`."""

OTHERS = 4
"""Number of seeds of methods that are not registered."""
SECOND = "dial"
"""The task without a trap."""


def trainings(registration: Registration, quick: bool) -> Trainings:
    """Registered methods on all seeds, other methods on the first four, and the second task.

    Quick: only registered methods, on four seeds.
    """
    few = registration.seeds[:OTHERS]
    primary = registration.everyone
    planned = [
        (method, registration.task, seed) for method in primary for seed in (few if quick else registration.seeds)
    ]
    if not quick:
        planned += [(method, registration.task, seed) for method in METHODS if method not in primary for seed in few]
        planned += [(method, SECOND, seed) for method in primary for seed in few]
    return dict(keyed(method, fields(method, task, seed)) for method, task, seed in planned)


def keyed(method: str, changes: dict[str, Any]) -> tuple[str, tuple[str, dict[str, Any]]]:
    """A training with its key: the method, the task, the seed, and a hash of all settings."""
    everything = hashlib.sha256(json.dumps(changes, sort_keys=True).encode()).hexdigest()[:12]
    return f"{method} {changes['task']} {changes['seed']} {everything}", (method, changes)
