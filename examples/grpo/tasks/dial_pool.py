"""`dial-pool`: `dial` with a pool of questions of which a given share is dead, for experiments on planning.

A dead question gives groups without spread: half of them have two operations, which the warm start gets right, and half
have a label that no completion can match. The questions are the same for every seed, so that one training's pass rates
say something to another.
"""

from __future__ import annotations

import random

from examples.grpo.tasks.dial import DIGITS, MISTAKEN, TURNS, Dial, ask, draw
from examples.grpo.tasks.task import Question

LEARNABLE = 96
EASY_OPERATIONS = 2
"""None of them one that the warm start gets wrong."""
NEVER = "none"
"""The label of an impossible question."""


class DialPool(Dial):
    """96 learnable questions, and so many dead ones that they are `dead_share` of the pool."""

    name = "dial-pool"

    def __init__(self, dead_share: float) -> None:
        super().__init__(0)
        dead = round(LEARNABLE * dead_share / (1 - dead_share))
        dice = random.Random(f"dial-pool {dead}")
        learnable, taken = self.train[:LEARNABLE], {question.text for question in (*self.train[:LEARNABLE], *self.test)}
        impossible, easy = dict[str, Question](), dict[str, Question]()
        while len(impossible) < dead // 2:
            text = ask(*draw(dice)).text
            if text not in taken:
                impossible[text] = Question(text, NEVER)
        while len(easy) < dead - len(impossible):
            turns = dice.choices([turn for turn in TURNS if turn not in MISTAKEN], k=EASY_OPERATIONS)
            question = ask(dice.randrange(DIGITS), turns)
            easy[question.text] = question
        self.train = [*learnable, *impossible.values(), *easy.values()]
