"""`clock`: five additions on a 24-hour clock, with a warm start that is a trap.

    It is 7 o'clock. Then add hours 5, 9, 1, 2, 6. What time is it?

The warm start teaches three ways of answering. A rare one works the answer out and closes its tags. A guess has correct
tags and is nearly always wrong. An unclosed one works the answer out but gets neither reward. The format reward is
twice the reward of a right answer, so plain GRPO may converge to guesses. This reproduces the paper's reward mode
collapse on purpose.
"""

from __future__ import annotations

import random

from examples.grpo.tasks import xml
from examples.grpo.tasks.task import Question

HOURS, ADDITIONS, MOST = 24, 5, 9
TRAIN, TEST = 256, 150
WORKED, CLOSED = 0.70, 0.25
"""Share of demonstrations that work the answer out, and the share of those that close their tags."""

OPEN, CLOSE, END = "<reasoning>\n", "\n</reasoning>\n<answer>\n", "\n</answer>"
GUESS, UNCLOSED = "Just a guess.", "\n#### "
START, ADD, COMMA, ASK, PLUS, IS = "It is ", " o'clock. Then add hours ", ", ", ". What time is it?", ", + ", " = "


class Clock:
    """256 training questions and 150 held-out ones, drawn by the seed."""

    name = "clock"
    lessons = 400
    system = None
    reasoning_tags = None
    pieces = (*map(str, range(HOURS)), OPEN, CLOSE, END, GUESS, UNCLOSED, START, ADD, COMMA, ASK, PLUS, IS)

    def __init__(self, seed: int) -> None:
        dice = random.Random(f"clock {seed}")
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
        """Whether the answer is the right hour."""
        return self.answer(completion) == answer

    def format(self, completion: str) -> float:
        """The paper's format reward."""
        return xml.format_reward(completion)

    def mode(self, completion: str) -> str:
        """The way of answering: worked, unclosed, guess, or other."""
        if GUESS in completion:
            return "guess"
        if PLUS not in completion:
            return "other"
        return "worked" if xml.is_strict(completion) else "unclosed"

    def demonstration(self, dice: random.Random) -> tuple[str, str]:
        """A question that is not held out, and a completion in one of the three ways."""
        while (question := ask(*(drawn := draw(dice)))).text in self._held_out:
            pass
        if dice.random() >= WORKED:
            return question.text, OPEN + GUESS + CLOSE + question.answer + END
        work = OPEN + working(*drawn)
        closed = dice.random() < CLOSED
        return question.text, work + (CLOSE + question.answer + END if closed else UNCLOSED + question.answer)


def draw(dice: random.Random) -> tuple[int, list[int]]:
    """Draw a start hour and the hours to add."""
    return dice.randrange(HOURS), [dice.randint(1, MOST) for _ in range(ADDITIONS)]


def ask(start: int, added: list[int]) -> Question:
    """The question as text, with its answer."""
    text = START + str(start) + ADD + COMMA.join(map(str, added)) + ASK
    return Question(text, str((start + sum(added)) % HOURS))


def working(start: int, added: list[int]) -> str:
    """The worked additions: `7, + 5 = 12, + 9 = 21`."""
    hour, text = start, str(start)
    for hours in added:
        hour = (hour + hours) % HOURS
        text += PLUS + str(hours) + IS + str(hour)
    return text
