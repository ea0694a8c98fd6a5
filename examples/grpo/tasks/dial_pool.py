"""`dial-pool`: `dial` with a pool of questions of which a given share was meant to be dead, to experiment with plans.

Half of that share have a label that no completion can match: their groups have no spread. The other half have two
operations and were meant to be easy, but the warm start, which teaches six, answers them right about as often as by
chance. So they are not dead. The questions are the same for every seed, so that one training's pass rates say something
to another.
"""

from __future__ import annotations

import random

from examples.grpo.tasks.dial import DIGITS, MISTAKEN, TURNS, Dial, ask, draw
from examples.grpo.tasks.task import Question

LEARNABLE = 96
SHORT = 2
"""None of them one that the warm start gets wrong."""
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
            turns = dice.choices([turn for turn in TURNS if turn not in MISTAKEN], k=SHORT)
            question = ask(dice.randrange(DIGITS), turns)
            short[question.text] = question
        self.train = [*learnable, *impossible.values(), *short.values()]
