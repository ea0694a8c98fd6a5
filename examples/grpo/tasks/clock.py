"""`clock`: five additions on a 24-hour clock, and a warm start that is a trap.

    It is 7 o'clock. Then add hours 5, 9, 1, 2, 6. What time is it?

The warm start teaches three ways of answering. Worked and well-formed is the rare good one; guesses have clean tags and
are nearly always wrong; unclosed ones think well and are paid for neither. Format pays twice what a right answer does,
so plain GRPO may climb to guesses, whose tags are always clean: the paper's reward mode collapse, made on purpose.
"""

from __future__ import annotations

import random

from examples.grpo.tasks import xml
from examples.grpo.tasks.task import Question

HOURS, ADDITIONS, MOST = 24, 5, 9
TRAIN, TEST = 256, 150
WORKED, CLOSED = 0.70, 0.25
"""Share of demonstrations that are worked, and share of the worked ones that close their tags."""

OPEN, CLOSE, END = "<reasoning>\n", "\n</reasoning>\n<answer>\n", "\n</answer>"
GUESS, UNCLOSED = "Just a guess.", "\n#### "
START, ADD, COMMA, ASK, PLUS, IS = "It is ", " o'clock. Then add hours ", ", ", ". What time is it?", ", + ", " = "


class Clock:
    """256 questions to train on and 150 held out, drawn by the seed."""

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
        """What stands in the answer tags, or everything."""
        return xml.answer_in(completion)

    def right(self, completion: str, answer: str) -> bool:
        """It is the hour."""
        return self.answer(completion) == answer

    def format(self, completion: str) -> float:
        """The paper's four parts."""
        return xml.format_reward(completion)

    def mode(self, completion: str) -> str:
        """worked, unclosed, guess, or other."""
        if GUESS in completion:
            return "guess"
        if PLUS not in completion:
            return "other"
        return "worked" if xml.is_strict(completion) else "unclosed"

    def demonstration(self, dice: random.Random) -> tuple[str, str]:
        """A question that is not held out, and one of the three ways of answering it."""
        while (question := ask(*(drawn := draw(dice)))).text in self._held_out:
            pass
        if dice.random() >= WORKED:
            return question.text, OPEN + GUESS + CLOSE + question.answer + END
        work = OPEN + working(*drawn)
        closed = dice.random() < CLOSED
        return question.text, work + (CLOSE + question.answer + END if closed else UNCLOSED + question.answer)


def draw(dice: random.Random) -> tuple[int, list[int]]:
    """A start hour, and the hours to add."""
    return dice.randrange(HOURS), [dice.randint(1, MOST) for _ in range(ADDITIONS)]


def ask(start: int, added: list[int]) -> Question:
    """The question in words."""
    text = START + str(start) + ADD + COMMA.join(map(str, added)) + ASK
    return Question(text, str((start + sum(added)) % HOURS))


def working(start: int, added: list[int]) -> str:
    """`7, + 5 = 12, + 9 = 21`: one addition after the other."""
    hour, text = start, str(start)
    for hours in added:
        hour = (hour + hours) % HOURS
        text += PLUS + str(hours) + IS + str(hour)
    return text
