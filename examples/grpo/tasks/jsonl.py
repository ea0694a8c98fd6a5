"""`jsonl`: questions of one's own, one {"prompt", "answer"} a line. There is no format to pay for."""

from __future__ import annotations

from pathlib import Path

from memr_service.verifiers import VERIFIERS
from memr_service.verifiers.numeric import final_number

from examples.grpo.tasks.files import Line, split
from examples.grpo.tasks.task import Question


class Jsonl:
    """What stands in a file; every tenth line is held out. A folder holds train.jsonl and test.jsonl.

    Raises:
        memr_client.errors.InvalidRequest: the verifier `numeric` finds no number in an answer.
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
        """The number it ends with, or all of it where the verifier is `exact`."""
        return completion.strip() if self._name == "exact" else str(final_number(completion))

    def right(self, completion: str, answer: str) -> bool:
        """As the verifier says."""
        return self._verify(completion, answer) > 0

    def format(self, completion: str) -> float:
        """Nothing."""
        return 0.0

    def mode(self, completion: str) -> str:
        """`empty` or `text`: nothing is known of the ways of answering."""
        return "text" if completion.strip() else "empty"


def _question(line: Line) -> Question:
    return Question(line["prompt"], str(line["answer"]))
