"""`dial`: a dial of ten digits, turned, doubled and mirrored. Its warm start is no trap, only mistaken.

    The dial is at 7. Then turn 3, double, mirror, turn 5. Where is it?

There is one way of answering, and every demonstration works and closes its tags, but its teacher misremembers two of
the twelve operations more often than not. So all completions are paid the same for their format, and plain GRPO has
nothing to collapse to: what it would gain by a memory is worth knowing.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Container
from functools import partial

from examples.grpo.tasks import xml
from examples.grpo.tasks.task import Question

DIGITS, OPERATIONS = 10, 6
TRAIN, TEST = 256, 150

OPEN, CLOSE, END = "<reasoning>\n", "\n</reasoning>\n<answer>\n", "\n</answer>"
START, THEN, COMMA, ASK, IS = "The dial is at ", ". Then ", ", ", ". Where is it?", " = "


def _turned(by: int, at: int) -> int:
    return (at + by) % DIGITS


TURNS: dict[str, Callable[[int], int]] = {
    **{f"turn {by}": partial(_turned, by) for by in range(1, DIGITS)},
    "double": lambda at: at * 2 % DIGITS,
    "mirror": lambda at: DIGITS - 1 - at,
    "triple": lambda at: at * 3 % DIGITS,
}
MISTAKEN: dict[str, Callable[[int], int]] = {
    "mirror": lambda at: -at % DIGITS,
    "triple": lambda at: (at * 3 + 1) % DIGITS,
}
"""Operations as the teacher misremembers them."""
MISTAKES = 0.6
"""How often the teacher does."""


class Dial:
    """256 questions to train on and 150 held out, drawn by the seed."""

    name = "dial"
    lessons = 500
    system = None
    reasoning_tags = None
    pieces = (*map(str, range(DIGITS)), *TURNS, OPEN, CLOSE, END, START, THEN, COMMA, ASK, IS)

    def __init__(self, seed: int) -> None:
        dice = random.Random(f"dial {seed}")
        drawn = dict[str, Question]()
        while len(drawn) < TRAIN + TEST:
            question = ask(*draw(dice))
            drawn[question.text] = question
        questions = list(drawn.values())
        self.train, self.test = questions[:TRAIN], questions[TRAIN:]
        self._held_out = {question.text for question in self.test}

    def answer(self, completion: str) -> str:
        """What stands in the answer tags, or everything."""
        return xml.answer_in(completion)

    def right(self, completion: str, answer: str) -> bool:
        """It is the digit."""
        return self.answer(completion) == answer

    def format(self, completion: str) -> float:
        """The paper's four parts."""
        return xml.format_reward(completion)

    def mode(self, completion: str) -> str:
        """worked or other."""
        return "worked" if IS in completion and xml.is_strict(completion) else "other"

    def demonstration(self, dice: random.Random) -> tuple[str, str]:
        """A question that is not held out, and how the teacher answers it."""
        while (question := ask(*(drawn := draw(dice)))).text in self._held_out:
            pass
        mistaken = frozenset(turn for turn in MISTAKEN if dice.random() < MISTAKES)
        work = working(*drawn, mistaken)
        return question.text, OPEN + work + CLOSE + work[-1] + END


def draw(dice: random.Random) -> tuple[int, list[str]]:
    """A digit, and what is done to it."""
    return dice.randrange(DIGITS), dice.choices(list(TURNS), k=OPERATIONS)


def ask(start: int, turns: list[str]) -> Question:
    """The question in words."""
    at = start
    for turn in turns:
        at = TURNS[turn](at)
    return Question(START + str(start) + THEN + COMMA.join(turns) + ASK, str(at))


def working(start: int, turns: list[str], mistaken: Container[str] = ()) -> str:
    """`7, turn 3 = 0, double = 0`: one after the other, some of them by mistaken rules."""
    at, text = start, str(start)
    for turn in turns:
        at = (MISTAKEN if turn in mistaken else TURNS)[turn](at)
        text += COMMA + turn + IS + str(at)
    return text
