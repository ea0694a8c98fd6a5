"""How much of the verifier's label a raw component gives away: its AUC within groups of real solutions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from support.in_process import InProcess
from support.minilm import embed
from support.real_data import Question

ORDERS: dict[str, dict[str, Any]] = {
    "hold_one_out": {"order": "hold_one_out", "explore_warmup_steps": 0},
    "read_first": {"order": "read_first", "explore_warmup_steps": 0},
    "official": {"preset": "official-memory-r+", "explore_warmup_prompts": 0},
}


@dataclass
class Leak:
    """Over all groups with so many right answers of four. AUC .5: the component says nothing of who is right."""

    order: str
    component: str
    right: int
    groups: int = 0
    pairs: int = 0
    """Pairs of a right and a wrong answer to one question."""
    defined: int = 0
    """Those of them in which both have a raw value."""
    won: float = 0.0
    """Those in which the right answer's is the larger; a tie counts half."""

    @property
    def auc(self) -> float:
        return self.won / self.defined

    def add(self, raw: Sequence[float | None], is_right: Sequence[bool]) -> None:
        """Count one group."""
        self.groups += 1
        for x in (x for x, right in zip(raw, is_right, strict=True) if right):
            for y in (y for y, right in zip(raw, is_right, strict=True) if not right):
                self.pairs += 1
                if x is not None and y is not None:
                    self.defined += 1
                    self.won += 1.0 if x > y else 0.5 if x == y else 0.0


def measure(questions: Sequence[Question], order: str) -> list[Leak]:
    """Score each question's four solutions once, as one group of a fresh prompt, the memory growing all along."""
    leaks = {(name, n): Leak(order, name, n) for name in ("exploit", "explore") for n in (1, 2, 3)}
    with InProcess("memory:") as service:
        service.create("leak", **ORDERS[order])
        for question in questions:
            solutions = question["solutions"]
            is_right = [solution["is_correct"] for solution in solutions]
            texts = [solution["solution"] for solution in solutions]
            prompts = [question["question"]] * len(solutions)
            answer = service.reward(
                run_id="leak",
                prompts=prompts,
                completions=texts,
                outcomes=[float(right) for right in is_right],
                embeddings={"prompts": embed(prompts), "completions": embed(texts)},
            )
            for name, values in answer["components"].items():
                if 0 < sum(is_right) < len(is_right):
                    leaks[name, sum(is_right)].add(values["raw"], is_right)
    return list(leaks.values())
