"""Which items earn nothing: each guard answers a mask (n,) bool, True where it rejects, and has a reason to report."""

from __future__ import annotations

from typing import Literal

import numpy as np

REASONS = {
    "topic_floor": "off_topic",
    "neighbour_floor": "no_near_prompt",
    "too_short": "too_short",
    "too_long": "too_long",
    "repetition": "repetitive",
    "copied": "copied",
    "foreign": "foreign",
    "truncated": "truncated",
    "only_if": "other_outcome",
    "mixed_groups_only": "unmixed_group",
}
"""Guard -> the reason that is reported for an item it rejects."""


def topic_floor(topic: np.ndarray, floor: float) -> np.ndarray:
    """Completions that have little to do with their prompt: cos(q, a) < floor, `topic` (n,) being that cosine.

    The one guard that stops refusals, empty answers and noise; what copies or pads the prompt passes it.
    """
    return np.asarray(topic < floor)


def neighbour_floor(nearest: np.ndarray, floor: float) -> np.ndarray:
    """Items whose memories are of other questions: the nearest prompt they read has a cosine below the floor.

    Args:
        nearest: that cosine (n,): 1 for an item that reads its own prompt, NaN where nothing was read, which is not
            rejected since it has no value anyway.
    """
    return np.asarray(nearest < floor)


def too_short(characters: np.ndarray, least: int) -> np.ndarray:
    """Completions of fewer than `least` characters; `characters` (n,) are those of the encoded text."""
    return np.asarray(characters < least)


def too_long(characters: np.ndarray, most: int) -> np.ndarray:
    """Completions of more than `most` characters: padding."""
    return np.asarray(characters > most)


def repetition(share: np.ndarray, most: float) -> np.ndarray:
    """Completions of which more than the share `most` repeats what they have said before (`repeated_share`) (n,)."""
    return np.asarray(share > most)


def copied(share: np.ndarray, most: float) -> np.ndarray:
    """Completions of which more than the share `most` stands in their prompt (`copied_share`) (n,)."""
    return np.asarray(share > most)


def foreign(stretch: np.ndarray, most: int) -> np.ndarray:
    """Completions with more than `most` bytes on end that neither prompt nor siblings know (`foreign_stretches`) (n,).

    What is appended to a right answer or hidden in one, where the encoder still sees the answer.
    """
    return np.asarray(stretch > most)


def truncated(cut: np.ndarray) -> np.ndarray:
    """Completions that the trainer says ran into its limit (n,), and so never came to an answer."""
    return cut.astype(bool)


def only_if(side: Literal["correct", "incorrect"], right: np.ndarray) -> np.ndarray:
    """Items of the other side: a component may be for right completions alone, or for wrong ones; `right` (n,) bool."""
    return np.asarray(right != (side == "correct"))


def mixed_groups_only(outcome: np.ndarray, group: np.ndarray, threshold: float) -> np.ndarray:
    """Items of groups (n,) whose outcomes (n,) are all above the threshold or all not.

    There nothing but the memory reward would tell siblings apart, and a trainer that divides by the group's spread
    would blow it up to the size of a verdict.
    """
    if not len(group):
        return np.zeros(0, bool)
    right = np.bincount(group, outcome > threshold)[group]
    return np.asarray((right == 0) | (right == np.bincount(group)[group]))
