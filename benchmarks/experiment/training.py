"""One training of the experiment, and its row of results."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from examples.grpo.config import Config
from examples.grpo.measures import Row
from examples.grpo.train import train

SERIES = ("outcome", "format", "length", "diversity", "zero_variance_outcome")
"""Metrics of `examples.grpo.measures` that are kept for every step."""


def train_one(given: tuple[str, dict[str, Any]]) -> dict[str, Any]:
    """Train a method with its fields of `Config`."""
    method, fields = given
    config = Config.model_validate(fields)
    start = time.perf_counter()
    result = train(config)
    steps = result.rows[1:]
    return {
        "task": config.task,
        "method": method,
        "seed": config.seed,
        "final": round(result.accuracy, 4),
        "area": round(result.area, 4),
        "evaluated": [step for step, _ in result.curve],
        "accuracy": [round(accuracy, 4) for _, accuracy in result.curve],
        **{name: _rounded(row[name] for row in steps) for name in SERIES},
        "modes": {mode: _rounded(row.get(f"mode/{mode}") or 0.0 for row in steps) for mode in _after("mode/", steps)},
        "memory_share": {"all": _mean(steps, "memory_share"), **_means("memory_share/", steps)},
        "gap": _means("gap/", steps),
        "spread": _means("spread/", steps),
        "reward_share": _reward_share(steps),
        "seconds": round(time.perf_counter() - start, 1),
    }


def _after(prefix: str, steps: Sequence[Row]) -> list[str]:
    """The rest of the names of metrics that begin with `prefix`."""
    return sorted({name.removeprefix(prefix) for row in steps for name in row if name.startswith(prefix)})


def _means(prefix: str, steps: Sequence[Row]) -> dict[str, float | None]:
    return {name: _mean(steps, prefix + name) for name in _after(prefix, steps)}


def _mean(steps: Sequence[Row], name: str) -> float | None:
    """Mean over the steps that have the metric."""
    values = [value for row in steps if (value := row.get(name)) is not None]
    return round(float(np.mean(values)), 4) if values else None


def _reward_share(steps: Sequence[Row]) -> float:
    """Seconds spent on rewards / seconds of the steps."""
    spent = {name: sum(row[name] or 0.0 for row in steps) for name in ("rollout_s", "reward_s", "update_s")}
    return round(spent["reward_s"] / sum(spent.values()), 4)


def _rounded(values: Iterable[float | None]) -> list[float | None]:
    return [None if value is None else round(value, 4) for value in values]
