"""`dial-pool` and `dial-dead`: `dial` with a pool that has a given share of other questions, to experiment with plans.

Half of the others have a label that no completion can match: their groups have no spread. The other half have two
operations. The warm start of `dial-pool` teaches six operations alone, so it answers two about as often right as by
chance. The warm start of `dial-dead` teaches both, so its short questions are easy: all others are dead. The questions
are the same for every seed, so that one training's pass rates say something to another.
"""

from __future__ import annotations

import random

from examples.grpo.tasks.dial import DIGITS, MISTAKEN, TURNS, Dial, ask, demonstrate, draw
from examples.grpo.tasks.task import Question

LEARNABLE = 96
SHORT = 2
"""None of them one that the warm start gets wrong."""
SHORT_LESSONS = 0.25
"""Share of `dial-dead`'s demonstrations that have two operations."""
NEVER = "none"
"""The label of an impossible question."""


class DialPool(Dial):
    """96 learnable questions, and so many impossible and short ones that they are `dead_share` of the pool."""

    name = "dial-pool"

    def __init__(self, dead_share: float) -> None:
        super().__init__(0)
        others = round(LEARNABLE * dead_share / (1 - dead_share))
        dice = random.Random(f"dial-pool {others}")
        learnable, taken = self.train[:LEARNABLE], {question.text for question in (*self.train[:LEARNABLE], *self.test)}
        impossible, short = dict[str, Question](), dict[str, Question]()
        while len(impossible) < others // 2:
            text = ask(*draw(dice)).text
            if text not in taken:
                impossible[text] = Question(text, NEVER)
        while len(short) < others - len(impossible):
            question = ask(*draw_short(dice))
            short[question.text] = question
        self.train = [*learnable, *impossible.values(), *short.values()]


class DialDead(DialPool):
    """The same questions; a quarter of the warm start's demonstrations has two operations."""

    name = "dial-dead"
    lessons = 750

    def demonstration(self, dice: random.Random) -> tuple[str, str]:
        """A question that is not held out, and its demonstration."""
        if dice.random() < SHORT_LESSONS:
            return demonstrate(*draw_short(dice))
        return super().demonstration(dice)


def draw_short(dice: random.Random) -> tuple[int, list[str]]:
    """Draw a start digit and two operations that the warm start gets right."""
    turns = dice.choices([turn for turn in TURNS if turn not in MISTAKEN], k=SHORT)
    return dice.randrange(DIGITS), turns
