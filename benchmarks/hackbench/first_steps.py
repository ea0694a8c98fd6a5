"""The first steps of a run as a trainer lives through them: the preset as it comes, its warm-up included."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from memr_client import RewardResponse
from support.real_data import Question

from benchmarks.hackbench import measures
from benchmarks.hackbench.cases import rights
from benchmarks.hackbench.trial import Bench, played, solved

STEPS = 50
"""The paper's warm-up of explore."""
BLOCK = 10
"""Steps that are told of together."""


@dataclass(frozen=True)
class Stretch:
    """Some steps in a row."""

    first: int
    last: int
    apart: float
    """Share of groups whose rewards differ."""
    right: float
    """Mean reward of right completions; NaN without any."""
    wrong: float
    """Mean reward of wrong completions."""


@dataclass(frozen=True)
class Beginning:
    """A run's first steps."""

    stretches: list[Stretch]
    apart: float
    """Share of all groups whose rewards differ."""
    told: list[str]
    """What the responses say of them, each thing once, with the first step that says it."""


def beginning(bench: Bench, preset: str, questions: Sequence[Question], groups: int) -> Beginning:
    """A run of `STEPS` steps, each of the four real attempts at each of `groups` questions; questions come once."""
    answers = []
    with bench.run({"preset": preset}, warm=False) as run:
        for step in range(STEPS):
            part = questions[step * groups : (step + 1) * groups]
            items = [item for question in part for item in solved(question)]
            if items:
                answers.append((items, bench.ask(run, items, step=step)))
    stretches = []
    for start in range(0, len(answers), BLOCK):
        found = played(answers[start : start + BLOCK], 4)
        right = found.outcomes > 0.5
        means = [float(found.rewards[side].mean()) if side.any() else float("nan") for side in (right, ~right)]
        stretches.append(
            Stretch(start, min(start + BLOCK, len(answers)) - 1, measures.told_apart(found.rewards), *means)
        )
    every = played(answers, 4)
    return Beginning(stretches, measures.told_apart(every.rewards), _told([response for _, response in answers]))


def all_wrong(questions: Sequence[Question]) -> list[Question]:
    """The questions that no model got right."""
    return [question for question in questions if not rights(question)]


def _told(responses: Sequence[RewardResponse]) -> list[str]:
    said: dict[str, str] = {}
    for step, response in enumerate(responses):
        for name, left in response.warmup.items():
            if left:
                said.setdefault(f"warmup {name}", f"step {step}: {name} is off for {left} more steps (`warmup`)")
        for name, values in response.components.items():
            if all(raw is None for raw in values.raw):
                said.setdefault(f"null {name}", f"step {step}: {name} has no value yet (`raw` is null)")
        for warning in response.warnings:
            said.setdefault(warning[:40], f"step {step}: {warning}")
    return list(said.values())
