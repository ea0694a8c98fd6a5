"""`chain-sum`: easy arithmetic of the package reasoning-gym, from two to six terms of one or two digits.

    State the final answer to the following arithmetic problem: 4 + 3 - 12 =

The mix of difficulties is that of the package, whose generator draws the number of terms and of digits evenly. The warm
start teaches up to four terms of one digit. Needs `pip install reasoning-gym`.
"""

from __future__ import annotations

import random
from typing import Any

from examples.grpo.tasks import xml
from examples.grpo.tasks.task import Question

TRAIN, TEST = 240, 150
DIGITS = 2
"""Most digits of a number. All other settings are the package's defaults."""
EASIEST: dict[str, int] = {"min_terms": 2, "max_terms": 4, "max_digits": 1}
"""What the warm start teaches."""

OPEN, CLOSE, END = "<reasoning>\n", "\n</reasoning>\n<answer>\n", "\n</answer>"
START, ASK, IS, COMMA = "State the final answer to the following arithmetic problem: ", " =", " = ", ", "
PLUS, MINUS = " + ", " - "


class ChainSum:
    """240 training questions and 150 held-out ones, the same for every seed."""

    name = "chain-sum"
    lessons = 400
    system = None
    reasoning_tags = None
    pieces = (*map(str, range(10)), OPEN, CLOSE, END, START, ASK, IS, COMMA, PLUS, MINUS, "+ ", "- ", "-")

    def __init__(self) -> None:
        self._package = dataset(seed=0, size=2 * (TRAIN + TEST), max_digits=DIGITS)
        distinct = {one["question"]: Question(one["question"], one["answer"]) for one in self._package}
        questions = [*distinct.values()][: TRAIN + TEST]
        self.train, self.test = questions[:TRAIN], questions[TRAIN:]
        self._held_out = {question.text for question in self.test}
        self._easiest = dataset(seed=1_000_000, size=100_000, **EASIEST)

    def answer(self, completion: str) -> str:
        """The text in the answer tags, or the whole completion."""
        return xml.answer_in(completion)

    def right(self, completion: str, answer: str) -> bool:
        """Whether the package's own scoring gives the answer full marks."""
        return bool(self._package.score_answer(self.answer(completion), {"answer": answer}) == 1)

    def format(self, completion: str) -> float:
        """The paper's format reward."""
        return xml.format_reward(completion)

    def mode(self, completion: str) -> str:
        """The way of answering: worked or other."""
        return "worked" if IS in completion and xml.is_strict(completion) else "other"

    def demonstration(self, dice: random.Random) -> tuple[str, str]:
        """One of the easiest questions that is not held out, worked out."""
        while (drawn := self._easiest[dice.randrange(len(self._easiest))])["question"] in self._held_out:
            pass
        return drawn["question"], OPEN + working(drawn["metadata"]["expression"]) + CLOSE + drawn["answer"] + END


def dataset(**settings: int) -> Any:
    """The package's generator of chains of sums.

    Raises:
        ImportError: it is not installed.
    """
    try:
        from reasoning_gym import create_dataset  # imported late, because it is optional
    except ImportError as error:
        raise ImportError(f"the task chain-sum needs `pip install reasoning-gym`: {error}") from error
    return create_dataset("chain_sum", **settings)


def working(expression: str) -> str:
    """The worked sum: of `4 + 3 - 12`, `4, + 3 = 7, - 12 = -5`."""
    first, *others = expression.split(" ")
    at, text = int(first), first
    for operator, number in zip(others[::2], others[1::2], strict=True):
        at += int(number) if operator == "+" else -int(number)
        text += f"{COMMA}{operator} {number}{IS}{at}"
    return text
