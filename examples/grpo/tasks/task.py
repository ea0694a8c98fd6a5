"""The interface of a task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Protocol


@dataclass(frozen=True)
class Question:
    """A prompt and its right answer."""

    text: str
    answer: str


class Task(Protocol):
    """Questions, and how their completions are judged."""

    @property
    def train(self) -> Sequence[Question]:
        """Training questions."""

    @property
    def test(self) -> Sequence[Question]:
        """Held-out questions."""

    @property
    def system(self) -> str | None:
        """System prompt of a chat model."""

    @property
    def reasoning_tags(self) -> tuple[str, str] | None:
        """Tags around the text that the memory encodes; None: the whole completion."""

    @property
    def pieces(self) -> Sequence[str]:
        """Tokens of the tiny model."""

    def answer(self, completion: str) -> str:
        """The final answer in a completion."""

    def right(self, completion: str, answer: str) -> bool:
        """Whether a completion gives the right answer."""

    def format(self, completion: str) -> float:
        """The format reward, 0 to 2."""

    def mode(self, completion: str) -> str:
        """The way of answering, for the diagnosis of collapse."""


class Lesson(Task, Protocol):
    """A task with demonstrations for the tiny model's warm start."""

    @property
    def name(self) -> str:
        """Name of the file with the warm-started weights."""

    @property
    def lessons(self) -> int:
        """Steps of supervised learning."""

    def demonstration(self, dice: Random) -> tuple[str, str]:
        """A question that is not held out, and a completion to learn from."""
