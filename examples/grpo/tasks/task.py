"""What a trainer needs to know of a task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Question:
    """One prompt and its right answer."""

    text: str
    answer: str


class Task(Protocol):
    """Questions, and what a completion of one is worth."""

    train: Sequence[Question]
    test: Sequence[Question]
    """Held out: never trained on."""
    system: str | None
    """What a chat model is told before the question."""
    reasoning_tags: tuple[str, str] | None
    """What the memory reads of a completion; None: all of it."""
    pieces: Sequence[str]
    """What a tiny model's tokens are."""

    def right(self, completion: str, answer: str) -> bool:
        """The outcome."""

    def format(self, completion: str) -> float:
        """The format reward, 0 to 2."""

    def mode(self, completion: str) -> str:
        """Which way of answering this is, for the diagnosis of collapse."""
