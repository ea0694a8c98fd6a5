"""`stories`: word problems of one to three steps, for a small pretrained model.

    A pen costs 4 dollars. Mia buys 6 of them and a bag for 9 dollars. How much does Mia pay?

Seven kinds of problems with varied words and numbers are drawn by the seed. The warm start teaches to work a problem
out in short lines and to close with the answer after `####`, as in GSM8K; one demonstration in four closes in words, so
that the format remains to be learned.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from typing import NamedTuple

from examples.grpo.tasks.task import Question

TRAIN, TEST = 256, 96
MARK = "#### "
CLOSED = 0.75
"""Share of the demonstrations that close with the mark."""

NAMES = ("Mia", "Tom", "Ana", "Ben", "Lena", "Omar", "Ravi", "Zoe", "Ivan", "Nora", "Kofi", "Yuki")
THINGS = ("apples", "stickers", "marbles", "coins", "shells", "cards", "stamps", "nuts", "beads", "buttons")
_CLOSED = re.compile(r"\n#### -?\d+\s*$")


class Story(NamedTuple):
    """A problem: its text, and its steps as (operator, number), which are applied to the first number in turn."""

    text: str
    first: int
    steps: list[tuple[str, int]]

    def working(self) -> tuple[list[str], int]:
        """The worked lines, such as `4 * 6 = 24`, and the answer."""
        lines, at = [], self.first
        for operator, number in self.steps:
            result = {"+": at + number, "-": at - number, "*": at * number, "/": at // number}[operator]
            lines.append(f"{at} {operator} {number} = {result}")
            at = result
        return lines, at


Dice = random.Random


def _collecting(dice: Dice) -> Story:
    (name, friend), things = dice.sample(NAMES, 2), dice.choice(THINGS)
    at = first = dice.randint(3, 30)
    begins = (
        "{name} has {first} {things}.",
        "There are {first} {things} in {name}'s bag.",
        "{name} owns {first} {things}.",
    )
    text, steps = dice.choice(begins).format(name=name, first=first, things=things), list[tuple[str, int]]()
    for _ in range(dice.randint(1, 3)):
        number = dice.randint(2, 15)
        if dice.random() < 0.5 or number >= at:
            more = ("{name} finds {n} more.", "{friend} gives {name} {n} {things}.", "Then {name} buys another {n}.")
            step, wording, at = ("+", number), dice.choice(more), at + number
        else:
            less = ("{name} gives {n} of them to {friend}.", "Then {name} loses {n}.", "{friend} takes {n} away.")
            step, wording, at = ("-", number), dice.choice(less), at - number
        text += " " + wording.format(name=name, friend=friend, n=number, things=things)
        steps.append(step)
    asks = ("How many {things} does {name} have now?", "How many {things} are there in the end?")
    return Story(f"{text} {dice.choice(asks).format(name=name, things=things)}", first, steps)


def _reading(dice: Dice) -> Story:
    name, pages, days = dice.choice(NAMES), dice.randint(3, 15), dice.randint(2, 9)
    text = dice.choice(("{name} reads {a} pages a day for {n} days", "Every day for {n} days, {name} reads {a} pages"))
    text, steps = text.format(name=name, a=pages, n=days), [("*", days)]
    if dice.random() < 0.6:
        more = dice.randint(2, 12)
        text, steps = f"{text}, and {more} pages more on the next day", [*steps, ("+", more)]
    return Story(f"{text}. How many pages does {name} read in all?", pages, steps)


def _shopping(dice: Dice) -> Story:
    name, price, number = dice.choice(NAMES), dice.randint(2, 9), dice.randint(2, 9)
    thing = dice.choice(("pen", "ticket", "cake", "ball", "mug", "notebook"))
    text, steps, pays = (
        f"A {thing} costs {price} dollars. {name} buys {number} of them",
        [("*", number)],
        price * number,
    )
    if dice.random() < 0.5:
        other = dice.randint(3, 15)
        text, steps, pays = f"{text} and a bag for {other} dollars", [*steps, ("+", other)], pays + other
    if dice.random() < 0.7:
        return Story(f"{text}. How much does {name} pay?", price, steps)
    off = dice.randint(1, min(9, pays - 1))
    return Story(f"{text}, with {off} dollars off the whole. How much does {name} pay?", price, [*steps, ("-", off)])


def _sharing(dice: Dice) -> Story:
    name, each, friends = dice.choice(NAMES), dice.randint(2, 9), dice.randint(2, 8)
    things, steps = dice.choice(("cookies", "sweets", "grapes", "crackers")), [("/", friends)]
    text = dice.choice(
        ("{name} shares {a} {things} equally among {n} friends.", "{n} friends share {a} {things} equally.")
    )
    text = text.format(name=name, a=each * friends, things=things, n=friends)
    if dice.random() < 0.5:
        had = dice.randint(2, 9)
        text, steps = f"{text} Each of them had {had} before.", [*steps, ("+", had)]
        return Story(f"{text} How many {things} does each friend have now?", each * friends, steps)
    return Story(f"{text} How many {things} does each friend get?", each * friends, steps)


def _riding(dice: Dice) -> Story:
    at = first = dice.randint(5, 40)
    text, steps = f"{first} people are on a {dice.choice(('bus', 'train', 'boat'))}.", list[tuple[str, int]]()
    for stop in ("At the first stop", "At the second")[: dice.randint(1, 2)]:
        off = dice.randint(2, min(12, at - 1))
        text, steps, at = f"{text} {stop} {off} get off", [*steps, ("-", off)], at - off
        if len(steps) < 3 and dice.random() < 0.4:
            on = dice.randint(2, 12)
            text, steps, at = f"{text} and {on} get on", [*steps, ("+", on)], at + on
        text += "."
        if at < 4:
            break
    return Story(f"{text} How many people are on it now?", first, steps)


def _packing(dice: Dice) -> Story:
    boxes, each, things = dice.randint(2, 9), dice.randint(3, 12), dice.choice(THINGS)
    text = dice.choice(("There are {n} boxes with {a} {things} in each.", "{n} boxes hold {a} {things} each."))
    text, steps = text.format(n=boxes, a=each, things=things), [("*", boxes)]
    if dice.random() < 0.5:
        sold = dice.randint(2, min(20, boxes * each - 1))
        text, steps = f"{text} {sold} {things} are sold.", [*steps, ("-", sold)]
    if dice.random() < 0.4:
        more = dice.randint(2, 15)
        text, steps = f"{text} {more} more are found.", [*steps, ("+", more)]
    return Story(f"{text} How many {things} are there now?", each, steps)


def _ageing(dice: Dice) -> Story:
    (name, friend), age = dice.sample(NAMES, 2), dice.randint(3, 20)
    way, number = dice.choice("+-*"), dice.randint(2, 4 if age < 5 else 9)
    if way == "-" and number >= age:
        way = "+"
    if way == "*":
        number = dice.randint(2, 4)
    words = {"+": f"{number} years older than", "-": f"{number} years younger than", "*": f"{number} times as old as"}
    text, steps = f"{name} is {age} years old. {friend} is {words[way]} {name}.", [(way, number)]
    if dice.random() < 0.5:
        return Story(f"{text} How old is {friend}?", age, steps)
    later = dice.randint(2, 15)
    return Story(f"{text} How old will {friend} be in {later} years?", age, [*steps, ("+", later)])


KINDS: tuple[Callable[[Dice], Story], ...] = (
    _collecting, _reading, _shopping, _sharing, _riding, _packing, _ageing,
)  # fmt: skip


class Stories:
    """256 training questions and 96 held-out ones, the same for every seed."""

    name = "stories"
    lessons = 150
    system = None
    reasoning_tags = None
    pieces = tuple(map(chr, [*range(32, 127), 10]))

    def __init__(self) -> None:
        dice = random.Random("stories")
        drawn = dict[str, Question]()
        while len(drawn) < TRAIN + TEST:
            story = dice.choice(KINDS)(dice)
            drawn[story.text] = Question(story.text, str(story.working()[1]))
        questions = list(drawn.values())
        self.train, self.test = questions[:TRAIN], questions[TRAIN:]
        self._asked = set(drawn)

    def answer(self, completion: str) -> str:
        """The text after the last mark, or the whole text if there is none."""
        return completion.rpartition(MARK)[2].strip().replace(",", "")

    def right(self, completion: str, answer: str) -> bool:
        """Whether the answer is the right number."""
        return self.answer(completion) == answer

    def format(self, completion: str) -> float:
        """2 if the last line is the mark and a number."""
        return 2.0 if _CLOSED.search(completion) else 0.0

    def mode(self, completion: str) -> str:
        """The way of answering: worked and closed, worked, or other."""
        if " = " not in completion:
            return "other"
        return "closed" if _CLOSED.search(completion) else "worked"

    def demonstration(self, dice: random.Random) -> tuple[str, str]:
        """A question that is neither trained on nor held out, worked out."""
        while (story := dice.choice(KINDS)(dice)).text in self._asked:
            pass
        lines, answer = story.working()
        end = f"{MARK}{answer}" if dice.random() < CLOSED else f"So it is {answer}."
        return story.text, "\n".join([*lines, end])
