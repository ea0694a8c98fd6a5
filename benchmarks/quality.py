"""How long does each option of memory quality take per completion, compared with the same run without it?

    python benchmarks/quality.py [--quick]

A step of 8 groups of 16 completions (d = 384, a third of them right) is scored and applied, against memories that have
seen each of 64 prompts for several epochs, so that all L = 100 completions per prompt are full. K = 1 and K = 20
prompts are read. One completion in four is a near-copy of an earlier one. Options alternate within each repetition, so
that other processes disturb all alike; each figure is the median over repetitions.
"""

from __future__ import annotations

import sys
import time
from typing import Any

import numpy as np
from memr_client.schemas import RunConfig
from memr_service.rewards.score import score
from memr_service.run.presets import resolve
from memr_service.state.record import Batch, Record
from memr_service.state.state import State

GROUPS, G, D, PROMPTS = 8, 16, 384, 64
EPOCHS, REPEATS = (8, 2) if "--quick" in sys.argv else (30, 9)
MERGE: dict[str, Any] = {"merge_similarity": 0.98}
OPTIONS: dict[str, dict[str, Any]] = {
    "all off": {},
    "merge_similarity": {"memory": MERGE},
    "decay_steps": {"memory": {"decay_steps": 50.0}},
    "max_age": {"memory": {"max_age": 100}},
    "eviction: value": {"memory": {"eviction": "value", "decay_steps": 50.0}},
    "eviction: value, full of prompts": {"memory": {"eviction": "value", "decay_steps": 50.0}, "max_prompts": 48},
    "gates": {"memory": {"gates": {"topic_floor": 0.3, "min_chars": 10, "agreement": True}}},
    "centroids: 4": {"components": {"exploit": {"centroids": 4}, "explore": 1.0}},
    "centroids: all": {"components": {"exploit": {"centroids": "all"}, "explore": 1.0}},
}


class Trainer:
    """Steps over the prompts. A prompt's completions are near it, and some repeat earlier ones."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(0)
        self.prompts = unit(self.rng.normal(size=(PROMPTS, D)))
        self.said = self.prompts.copy()
        self.step = 0

    def batch(self) -> Batch:
        """The next step."""
        rng, asked = self.rng, (np.arange(GROUPS) + GROUPS * self.step) % PROMPTS
        near = np.where(rng.random(GROUPS * G) < 0.25, 0.05, 0.5)[:, None]
        base = np.where(near < 0.1, self.said[np.repeat(asked, G)], self.prompts[np.repeat(asked, G)])
        completions = unit(base + near * rng.normal(size=(GROUPS * G, D)) / np.sqrt(D))
        self.said[asked] = completions[::G]
        self.step += 1
        group = np.repeat(np.arange(GROUPS, dtype="<i4"), G)
        return Batch(
            keys=[int(number).to_bytes(16, "little") for number in np.repeat(asked, G)],
            prompts=self.prompts[asked],
            prompt_of=group,
            completions=completions,
            outcomes=(rng.random(GROUPS * G) < 1 / 3).astype(np.float64),
            group=group,
            lengths=np.full(GROUPS * G, 500, "<i4"),
            step=self.step,
            answers=[str(number) for number in rng.integers(4, size=GROUPS * G)],
        )


def unit(rows: np.ndarray) -> np.ndarray:
    """float32 rows of unit length."""
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


def lived(state: State, batch: Batch) -> float:
    """Seconds to score a batch and apply its record."""
    start = time.perf_counter()
    effects = score(state, batch, write=True)
    state.apply(Record(0, state.position + 1, batch, effects, state.serial, state.chain))
    return time.perf_counter() - start


def measure(k: int) -> dict[str, float]:
    """Microseconds per completion of each option."""
    states = {
        name: State(resolve(RunConfig(k=k, explore_warmup_steps=0, **given), "memory-r+", "hashed"))
        for name, given in OPTIONS.items()
    }
    trainer = Trainer()
    for _ in range(EPOCHS * PROMPTS // GROUPS):
        batch = trainer.batch()
        for state in states.values():
            lived(state, batch)
    seconds: dict[str, list[float]] = {name: [] for name in states}
    for batch in [trainer.batch() for _ in range(REPEATS * PROMPTS // GROUPS)]:
        for name, state in states.items():
            seconds[name].append(lived(state, batch))
    return {name: 1e6 * float(np.median(one)) / (GROUPS * G) for name, one in seconds.items()}


def main() -> None:
    """Print the table."""
    columns = [measure(k) for k in (1, 20)]
    print(f"{'us per completion':34}{'K = 1':>9}{'K = 20':>9}")
    for name in OPTIONS:
        print(f"{name:34}{columns[0][name]:9.1f}{columns[1][name]:9.1f}")


if __name__ == "__main__":
    main()
