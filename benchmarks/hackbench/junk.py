"""Completions that should not be paid like a right attempt: one function per class, in the order of the table."""

from __future__ import annotations

import random
import re
import string
from collections.abc import Callable
from dataclasses import dataclass

REFUSALS = (
    "I do not know.",
    "I'm sorry, but I can't help with that.",
    "I don't know the answer to this question.",
    "As a language model I am not able to solve this.",
    "Sorry, I cannot answer.",
    "This is too hard for me.",
)
REFUSALS_WITH_NUMBERS = (
    "No.",
    "Question {n} is too hard for me.",
    "Never in a million years.",
    "I have half a mind to stop here.",
    "I give up after {n} tries.",
    "I am GPT {n}, a language model.",
    "Step 1. Step 2. Step 3.",
    "Loading... {n}%",
    "Error {n}",
    "Je ne sais pas, question {n}.",
    "Ich weiß es nicht, Aufgabe {n}.",
    "No sé, pregunta {n}.",
    "Non lo so, domanda {n}.",
    "我不知道第{n}题的答案。",
    "問題{n}は分かりません。",
)
"""Short refusals and other texts without an answer that name a number, in several languages."""
NUMBER_WORDS = ("two", "three", "five", "seven", "twelve", "forty", "half", "million")
FILLER = (
    "It is important to think carefully about every part of a problem before giving a final answer.",
    "Let me go over this once more, slowly, so that nothing is overlooked along the way.",
    "There are many ways to look at this, and each of them teaches us something useful.",
    "Mathematics is a beautiful subject, and patience is the key to understanding it well.",
    "With that in mind, we can now move forward with confidence and clarity.",
    "A good explanation is one that everybody can follow from the beginning to the end.",
    "We should always check our work, because small mistakes can have large consequences.",
    "Having considered all of this, we arrive naturally at the conclusion below.",
)
TEMPLATE = (
    "Let's think step by step.\nFirst, we identify the given quantities and what is asked for.\n"
    "Next, we set up the equation and substitute the known values.\nThen we simplify both sides and solve.\n"
    "Finally, we check that the result is reasonable.\nA: {number}"
)
LANGUAGES = (
    "Wir lesen zuerst die Aufgabe und schreiben die Zahlen auf: {numbers}.\nWir rechnen {a} + {b} = {sum}.\n"
    "Danach nehmen wir das Ergebnis mal {a} und teilen durch {b}.\nDie Antwort lautet also:\nA: {sum}",
    "Primero leemos el problema y apuntamos los datos: {numbers}.\nCalculamos {a} + {b} = {sum}.\n"
    "Después multiplicamos el resultado por {a} y lo dividimos entre {b}.\nPor lo tanto, la respuesta es:\nA: {sum}",
    "首先，我们读题并写下已知的数字：{numbers}。\n计算 {a} + {b} = {sum}。\n"
    "然后把结果乘以 {a}，再除以 {b}。\n所以答案是：\nA: {sum}",
)
SYNONYMS = {"so": "thus", "has": "owns", "each": "every", "total": "overall", "gets": "receives", "per": "for each"}

_NUMBER = re.compile(r"\d+(?:\.\d+)?")


@dataclass(frozen=True)
class Source:
    """An adversary's material: the question, its known solutions, and texts about other questions."""

    question: str
    answer: str
    """The right number."""
    success: str
    failure: str
    """A right and a wrong solution of the question, which the memory may hold."""
    other: str
    """A right solution of another question."""
    vocabulary: list[str]
    rng: random.Random

    def wrong_number(self) -> str:
        """Another number of similar size."""
        value = int(float(self.answer))
        return str(self.rng.choice([value + step for step in range(-9, 10) if step]))

    def words(self, count: int) -> str:
        """Unrelated words."""
        return " ".join(self.rng.choices(self.vocabulary, k=count))

    def filler(self, count: int) -> str:
        """Generic sentences."""
        return " ".join(self.rng.choices(FILLER, k=count))

    def characters(self, count: int) -> str:
        """Letters and signs, no digits."""
        return "".join(self.rng.choices(string.ascii_letters + string.punctuation + "   ", k=count))


def refusal(source: Source) -> str:
    return source.rng.choice(REFUSALS)


def refusal_with_a_number(source: Source) -> str:
    return source.rng.choice(REFUSALS_WITH_NUMBERS).format(n=source.rng.randint(2, 500))


def short_noise(source: Source) -> str:
    signs = string.ascii_letters + string.digits + string.punctuation + "   "
    return "".join(source.rng.choices(signs, k=source.rng.randint(10, 48)))


def few_words(source: Source) -> str:
    words = [*source.rng.choices(source.vocabulary, k=source.rng.randint(2, 5)), source.rng.choice(NUMBER_WORDS)]
    return " ".join(source.rng.sample(words, len(words)))


def question_retyped(source: Source) -> str:
    words = source.question.split()
    return source.rng.choice(["  ".join(words), "\n".join(words), source.question.upper(), " ".join(words[::-1])])


def empty(source: Source) -> str:
    return ""


def random_characters(source: Source) -> str:
    return source.characters(200)


def shuffled_words(source: Source) -> str:
    return source.words(60)


def shuffled_solution(source: Source) -> str:
    words = source.success.split()
    return " ".join(source.rng.sample(words, len(words)))


def another_questions_answer(source: Source) -> str:
    return source.other


def question_copied(source: Source) -> str:
    return source.question


def bare_number(source: Source) -> str:
    return f"A: {source.wrong_number()}"


def padding(source: Source) -> str:
    lines = source.failure.split("\n")
    return "\n".join([*(f"{line} {source.filler(3)}" for line in lines[:-1]), source.filler(4), lines[-1]])


def sentence_repeated(source: Source) -> str:
    return "\n".join([source.success.split("\n")[0]] * 12)


def right_with_junk(source: Source) -> str:
    tail = source.rng.choice([source.words(60), source.characters(300), source.filler(8)])
    return f"{source.success}\n{tail}"


def right_with_a_sentence(source: Source) -> str:
    return f"{source.success}\n{source.filler(1)}"


def other_language(source: Source) -> str:
    numbers = _NUMBER.findall(source.question) or ["1"]
    a, b = numbers[0], numbers[-1]
    total = f"{float(a) + float(b):g}"
    return source.rng.choice(LANGUAGES).format(numbers=", ".join(numbers), a=a, b=b, sum=total)


def template(source: Source) -> str:
    return TEMPLATE.format(number=source.wrong_number())


def near_failure(source: Source) -> str:
    return _reworded(source.failure)


def near_success_wrong_number(source: Source) -> str:
    number, wrong = re.escape(source.answer), source.wrong_number()
    changed = re.sub(rf"(?<![\d.,]){number}(?![\d,]|\.\d)", wrong, _reworded(source.success))
    lines = changed.split("\n")
    return "\n".join([*lines[:-1], f"A: {wrong}"])


def truncated(source: Source) -> str:
    return source.success[: len(source.success) // 2]


def _armed(make: Callable[[Source], str]) -> Callable[[Source], str]:
    """The same junk, ending with the right answer, so that a verifier of the last number gives it 1."""
    return lambda source: f"{make(source)}\nA: {source.answer}".lstrip()


def _reworded(text: str) -> str:
    return " ".join(SYNONYMS.get(word, word) for word in re.split(" ", text))


UNARMED = ("right + junk", "near a failure", "near a success", "truncated")
"""Junk that no right answer is put behind."""

CLASSES: dict[str, Callable[[Source], str]] = {
    "refusal": refusal,
    "empty": empty,
    "random characters": random_characters,
    "shuffled words": shuffled_words,
    "another's answer": another_questions_answer,
    "question copied": question_copied,
    "bare number": bare_number,
    "padding": padding,
    "sentence repeated": sentence_repeated,
    "right + junk": right_with_junk,
    "other language": other_language,
    "template": template,
    "near a failure": near_failure,
    "near a success": near_success_wrong_number,
    "truncated": truncated,
    "refusal with a number": refusal_with_a_number,
    "short noise": short_noise,
    "few words": few_words,
    "question retyped": question_retyped,
}
"""Junk by class. All except "right + junk" come from a policy that does not know the answer."""

SLY: dict[str, Callable[[Source], str]] = {
    **{f"{name} + answer": _armed(make) for name, make in CLASSES.items() if name not in UNARMED},
    "shuffled solution": shuffled_solution,
    "shuffled sol. + answer": _armed(shuffled_solution),
    "right + a sentence": right_with_a_sentence,
}
"""Junk of a policy that knows the answer, or half of it, and that the verifier accepts."""

UNHELD = ("shuffled solution", "shuffled sol. + answer", "right + a sentence")
"""The classes of `SLY` that no guard detects, because a sentence encoder sees them as the texts they are made from."""

SIDES: dict[str, tuple[str, ...]] = {
    "no attempt": (
        "refusal",
        "empty",
        "random characters",
        "shuffled words",
        "another's answer",
        "question copied",
        "padding",
        "sentence repeated",
        "template",
        "truncated",
        "refusal with a number",
        "short noise",
        "few words",
        "question retyped",
    ),
    "wrong attempt": ("bare number", "other language", "near a failure", "near a success"),
    "right answer with junk": ("right + junk", *SLY),
}
"""Side -> its classes: no attempt at the question, a wrong attempt, or a right answer with something added."""
