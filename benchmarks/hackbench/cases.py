"""GSM8K questions with real attempts at them, and the junk that an adversary sends in their midst."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from memr_service.verifiers.numeric import final_number, numeric
from support.real_data import Question, Solution, solutions

from benchmarks.hackbench.junk import CLASSES, SLY, Source


@dataclass(frozen=True)
class Case:
    """A question: what the memory has seen of it, three real attempts that it has not, and junk by class."""

    question: str
    answer: str
    earlier: Solution
    fresh: list[Solution]
    junk: dict[str, str]

    def outcome(self, completion: str) -> float:
        """What the verifier gives: 1 where the last number is the right one, however the text came by it."""
        return numeric(completion, self.answer)


def half(number: int) -> list[Question]:
    """Every other question: limits were chosen on those of half 0; half 1 is reported."""
    return solutions()[number::2]


def cases(questions: Sequence[Question], count: int) -> list[Case]:
    """The first `count` questions that some model got right and another wrong."""
    mixed = [question for question in questions if 0 < rights(question) < len(question["solutions"])][:count]
    vocabulary = sorted({word for question in questions for word in _text(question).split() if word.isalpha()})
    return [_case(question, place, mixed, vocabulary) for place, question in enumerate(mixed)]


def rights(question: Question) -> int:
    """How many of a question's solutions are right."""
    return sum(solution["is_correct"] for solution in question["solutions"])


def _case(question: Question, place: int, mixed: Sequence[Question], vocabulary: list[str]) -> Case:
    rng, all_of_it = random.Random(place), question["solutions"]
    right = [one["solution"] for one in all_of_it if one["is_correct"]]
    wrong = [one["solution"] for one in all_of_it if not one["is_correct"]]
    strangers = [other for other in mixed if other is not question]
    other = next(one["solution"] for one in rng.choice(strangers)["solutions"] if one["is_correct"])
    answer = str(final_number(right[0]))
    source = Source(question["question"], answer, right[0], wrong[0], other, vocabulary, rng)
    junk = {name: make(source) for name, make in {**CLASSES, **SLY}.items()}
    earlier = place % len(all_of_it)
    fresh = [solution for number, solution in enumerate(all_of_it) if number != earlier]
    return Case(question["question"], answer, all_of_it[earlier], fresh, junk)


def _text(question: Question) -> str:
    return " ".join(solution["solution"] for solution in question["solutions"])
