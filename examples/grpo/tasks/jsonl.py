"""`jsonl`: your own questions, one {"prompt", "answer"} per line, without a format reward."""

from __future__ import annotations

from pathlib import Path

from memr_service.verifiers import VERIFIERS

from examples.grpo.tasks.files import Line, split
from examples.grpo.tasks.final_number import final_number
from examples.grpo.tasks.task import Question


class Jsonl:
    """The questions of a file, with every tenth line held out, or of a folder with train.jsonl and test.jsonl.

    Raises:
        memr_client.errors.InvalidRequest: an answer has no number, and the verifier is `numeric`.
    """

    system = None
    reasoning_tags = None

    def __init__(self, data: Path, verifier: str) -> None:
        self.train, self.test = ([_question(line) for line in lines] for lines in split(data))
        self._name, self._verify = verifier, VERIFIERS[verifier]
        for question in (*self.train, *self.test):
            self._verify("", question.answer)
        self.pieces = sorted({letter for own in (*self.train, *self.test) for letter in own.text + own.answer})

    def answer(self, completion: str) -> str:
        """The last number, or the whole text if the verifier is `exact`."""
        return completion.strip() if self._name == "exact" else str(final_number(completion))

    def right(self, completion: str, answer: str) -> bool:
        """The verifier's outcome."""
        return self._verify(completion, answer) > 0

    def format(self, completion: str) -> float:
        """Always 0."""
        return 0.0

    def mode(self, completion: str) -> str:
        """`empty` or `text`, because ways of answering are not known."""
        return "text" if completion.strip() else "empty"


def _question(line: Line) -> Question:
    return Question(line["prompt"], str(line["answer"]))
