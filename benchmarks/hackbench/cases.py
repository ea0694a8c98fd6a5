"""GSM8K questions with real attempts at them, and junk that an adversary might send."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from memr_service.verifiers.numeric import numeric
from support.real_data import Question, Solution, solutions

from benchmarks.hackbench.junk import CLASSES, SLY, Source
from examples.grpo.tasks.final_number import final_number


@dataclass(frozen=True)
class Case:
    """A question with an attempt for the memory, three other real attempts, and junk by class."""

    question: str
    answer: str
    earlier: Solution
    fresh: list[Solution]
    junk: dict[str, str]

    def outcome(self, completion: str) -> float:
        """The verifier's outcome: 1 if the last number is the right one, whatever the text before it."""
        return numeric(completion, self.answer)


def half(number: int) -> list[Question]:
    """Every second question. Limits were chosen on half 0; half 1 is reported."""
    return solutions()[number::2]


def cases(questions: Sequence[Question], count: int) -> list[Case]:
    """The first `count` questions with both right and wrong solutions."""
    mixed = [question for question in questions if 0 < rights(question) < len(question["solutions"])][:count]
    vocabulary = sorted({word for question in questions for word in _text(question).split() if word.isalpha()})
    return [_case(question, number, mixed, vocabulary) for number, question in enumerate(mixed)]


def rights(question: Question) -> int:
    """Number of a question's right solutions."""
    return sum(solution["is_correct"] for solution in question["solutions"])


def _case(question: Question, number: int, mixed: Sequence[Question], vocabulary: list[str]) -> Case:
    rng, all_of_it = random.Random(number), question["solutions"]
    right = [one["solution"] for one in all_of_it if one["is_correct"]]
    wrong = [one["solution"] for one in all_of_it if not one["is_correct"]]
    strangers = [other for other in mixed if other is not question]
    other = next(one["solution"] for one in rng.choice(strangers)["solutions"] if one["is_correct"])
    answer = str(final_number(right[0]))
    source = Source(question["question"], answer, right[0], wrong[0], other, vocabulary, rng)
    junk = {name: make(source) for name, make in {**CLASSES, **SLY}.items()}
    earlier = number % len(all_of_it)
    fresh = [solution for i, solution in enumerate(all_of_it) if i != earlier]
    return Case(question["question"], answer, all_of_it[earlier], fresh, junk)


def _text(question: Question) -> str:
    return " ".join(solution["solution"] for solution in question["solutions"])
