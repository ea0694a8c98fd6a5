"""What a trainer needs to know of a task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Protocol


@dataclass(frozen=True)
class Question:
    """One prompt and its right answer."""

    text: str
    answer: str


class Task(Protocol):
    """Questions, and what a completion of one is worth."""

    @property
    def train(self) -> Sequence[Question]:
        """What is trained on."""

    @property
    def test(self) -> Sequence[Question]:
        """What is held out."""

    @property
    def system(self) -> str | None:
        """What a chat model is told before the question."""

    @property
    def reasoning_tags(self) -> tuple[str, str] | None:
        """What the memory reads of a completion stands between these; None: it reads all."""

    @property
    def pieces(self) -> Sequence[str]:
        """What a tiny model's tokens are."""

    def answer(self, completion: str) -> str:
        """What the completion answers."""

    def right(self, completion: str, answer: str) -> bool:
        """The outcome."""

    def format(self, completion: str) -> float:
        """The format reward, 0 to 2."""

    def mode(self, completion: str) -> str:
        """Which way of answering this is, for the diagnosis of collapse."""


class Lesson(Task, Protocol):
    """A task that teaches a tiny model, before the reinforcement, what it builds on."""

    @property
    def name(self) -> str:
        """Under which the taught weights are kept."""

    @property
    def lessons(self) -> int:
        """Steps of supervised learning."""

    def demonstration(self, dice: Random) -> tuple[str, str]:
        """A question that is not held out, and a completion to learn from."""
