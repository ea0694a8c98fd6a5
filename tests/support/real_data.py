"""Real completions, questions and official answers for tests and benchmarks (what they are: data/README.md)."""

from __future__ import annotations

import json
import lzma
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, TypedDict

DATA = Path(__file__).parents[1] / "data"


class Solution(TypedDict):
    """A model's solution of a question."""

    is_correct: bool
    solution: str


class Question(TypedDict):
    """A question with the solutions of four models."""

    question: str
    solutions: list[Solution]


class Rollout(TypedDict):
    """One line of a file that `memr score` reads."""

    prompt: str
    completion: str
    outcome: float


class Batch(TypedDict):
    """One call of the released code: places in `solutions()` and what it answered."""

    question: int
    solutions: list[int]
    exploit: list[float]
    explore: list[float]


class Trace(TypedDict):
    """The released code's settings and calls."""

    name: str
    k: int
    max_values: int
    window: int
    explore_phase_queries: int
    solution_keys: list[str]
    batches: list[Batch]


def _lines(name: str) -> list[Any]:
    with lzma.open(DATA / name, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


@cache
def solutions() -> list[Question]:
    """The 1,319 test questions of GSM8K, four model solutions each."""
    return _lines("solutions.jsonl.xz")


@cache
def references() -> list[str]:
    """The official answers to the questions of `solutions()`, in their order."""
    return _lines("references.jsonl.xz")


@cache
def train_questions() -> list[str]:
    """The 7,473 training questions of GSM8K."""
    return _lines("train_questions.jsonl.xz")


@cache
def official_trace(k: int) -> Trace:
    """What the released code answered with k = 1 or k = 5."""
    with lzma.open(DATA / f"official_trace_k{k}.json.xz", "rt", encoding="utf-8") as file:
        trace: Trace = json.load(file)
        return trace


def rollouts() -> Iterator[Rollout]:
    """All 5,276 solutions, the four of a question after one another."""
    for question in solutions():
        for solution in question["solutions"]:
            yield {
                "prompt": question["question"],
                "completion": solution["solution"],
                "outcome": float(solution["is_correct"]),
            }


def write_rollouts(path: Path) -> int:
    """Write all rollouts as JSONL for `memr score`; returns how many."""
    lines = [json.dumps(rollout) + "\n" for rollout in rollouts()]
    path.write_text("".join(lines), encoding="utf-8")
    return len(lines)


@cache
def nemo_gym_rollouts() -> list[dict[str, Any]]:
    """Rollouts as NeMo Gym's collector wrote them, of three tasks with four repeats; the third is an evaluation."""
    return _lines("nemo_gym_rollouts.jsonl.xz")


@cache
def nemo_gym_aggregates() -> dict[str, Any]:
    """What NeMo Gym's own code computes of these rollouts."""
    with lzma.open(DATA / "nemo_gym_aggregates.json.xz", "rt", encoding="utf-8") as file:
        aggregates: dict[str, Any] = json.load(file)
    return aggregates
