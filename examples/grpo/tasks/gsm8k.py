"""`gsm8k`: grade-school word problems (Cobbe et al. 2021, arXiv 2110.14168), with Memory-R+'s prompt and rewards."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from examples.grpo.tasks import xml
from examples.grpo.tasks.files import Line, split
from examples.grpo.tasks.task import Question


class Gsm8k:
    """7,473 training questions and 1,319 held-out ones, from the hub or from files with the same lines."""

    system = xml.SYSTEM
    reasoning_tags = xml.REASONING
    pieces = tuple(map(chr, [*range(32, 127), 10]))

    def __init__(self, data: Path | None) -> None:
        train, test = _hub() if data is None else split(data)
        self.train, self.test = _questions(train), _questions(test)

    def answer(self, completion: str) -> str:
        """The text in the answer tags, or the whole completion."""
        return xml.answer_in(completion)

    def right(self, completion: str, answer: str) -> bool:
        """Whether the answer is the same text, without thousands separators, as in the paper's code."""
        return self.answer(completion) == answer

    def format(self, completion: str) -> float:
        """The paper's format reward."""
        return xml.format_reward(completion)

    def mode(self, completion: str) -> str:
        """The format: strict, soft, tagged (at least an answer tag), or bare."""
        if xml.is_strict(completion):
            return "strict"
        if xml.is_soft(completion):
            return "soft"
        return "tagged" if "<answer>" in completion else "bare"


def _hub() -> tuple[Iterable[Line], Iterable[Line]]:
    from datasets import load_dataset

    rows = load_dataset("openai/gsm8k", "main")
    return rows["train"], rows["test"]


def _questions(lines: Iterable[Line]) -> list[Question]:
    return [Question(line["question"], line["answer"].rpartition("####")[2].strip().replace(",", "")) for line in lines]
