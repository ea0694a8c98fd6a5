"""`dial`: a dial of ten digits that is turned, doubled and mirrored. Its warm start has mistakes but no trap.

    The dial is at 7. Then turn 3, double, mirror, turn 5. Where is it?

Every demonstration works the answer out and closes its tags, but it gets two of the twelve operations wrong more often
than right. So all completions get the same format reward, and plain GRPO has nothing to collapse to. The task shows
what a memory adds when there is no trap.
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
"""Operations that demonstrations get wrong."""
MISTAKES = 0.6
"""Probability that a demonstration gets such an operation wrong."""


class Dial:
    """256 training questions and 150 held-out ones, drawn by the seed."""

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
        """The text in the answer tags, or the whole completion."""
        return xml.answer_in(completion)

    def right(self, completion: str, answer: str) -> bool:
        """Whether the answer is the right digit."""
        return self.answer(completion) == answer

    def format(self, completion: str) -> float:
        """The paper's format reward."""
        return xml.format_reward(completion)

    def mode(self, completion: str) -> str:
        """The way of answering: worked or other."""
        return "worked" if IS in completion and xml.is_strict(completion) else "other"

    def demonstration(self, dice: random.Random) -> tuple[str, str]:
        """A question that is not held out, and its demonstration."""
        while ask(*(drawn := draw(dice))).text in self._held_out:
            pass
        mistaken = frozenset(turn for turn in MISTAKEN if dice.random() < MISTAKES)
        return demonstrate(*drawn, mistaken)


def draw(dice: random.Random) -> tuple[int, list[str]]:
    """Draw a start digit and the operations."""
    return dice.randrange(DIGITS), dice.choices(list(TURNS), k=OPERATIONS)


def ask(start: int, turns: list[str]) -> Question:
    """The question as text, with its answer."""
    at = start
    for turn in turns:
        at = TURNS[turn](at)
    return Question(START + str(start) + THEN + COMMA.join(turns) + ASK, str(at))


def demonstrate(start: int, turns: list[str], mistaken: Container[str] = ()) -> tuple[str, str]:
    """The question and a completion that works it out. Operations in `mistaken` are worked by the wrong rule."""
    work = working(start, turns, mistaken)
    return ask(start, turns).text, OPEN + work + CLOSE + work[-1] + END


def working(start: int, turns: list[str], mistaken: Container[str] = ()) -> str:
    """The worked operations, `7, turn 3 = 0, double = 0`. Those in `mistaken` are worked by the wrong rule."""
    at, text = start, str(start)
    for turn in turns:
        at = (MISTAKEN if turn in mistaken else TURNS)[turn](at)
        text += COMMA + turn + IS + str(at)
    return text
