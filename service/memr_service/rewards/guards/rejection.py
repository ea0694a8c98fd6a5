"""Guards that reject items: each gives a mask (n,) bool, True where it rejects, and has a reason that is reported."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np
from memr_client.schemas import ComponentGuards, RunConfig

from memr_service.memory.cosine import rowwise_cosines
from memr_service.state.record import Batch

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


def rejections(
    config: RunConfig, limits: ComponentGuards, batch: Batch, nearest: np.ndarray | None
) -> Iterator[tuple[str, np.ndarray]]:
    """(reason, mask (n,)) of each guard that is on, in the order of `REASONS`.

    A guard whose measure a batch lacks (`repeated`, `copied`, `foreign`, `truncated`) rejects nothing and is left out.

    Args:
        limits: the guards of a component, or a memory's write gates as such.
        nearest: cosine of the nearest prompt that each item read (n,), for `neighbour_floor`.
    """
    answers = np.zeros(len(batch), bool)
    if limits.answer_chars is not None and batch.names_answer is not None:
        answers = short_answer(batch.lengths, batch.names_answer, limits.answer_chars)
    if limits.topic_floor is not None:
        topic = rowwise_cosines(batch.prompts[batch.prompt_of], batch.completions)
        foreign_encoder = limits.topic_for == "encoded" and batch.sent is not None
        exempt = answers | batch.sent if foreign_encoder else answers
        yield REASONS["topic_floor"], topic_floor(topic, limits.topic_floor) & ~exempt
    if limits.neighbour_floor is not None and nearest is not None:
        yield REASONS["neighbour_floor"], neighbour_floor(nearest, limits.neighbour_floor)
    if limits.min_chars is not None:
        yield REASONS["too_short"], too_short(batch.lengths, limits.min_chars)
    if limits.max_chars is not None:
        yield REASONS["too_long"], too_long(batch.lengths, limits.max_chars)
    if limits.max_repetition is not None and batch.repeated is not None:
        yield REASONS["repetition"], repetition(batch.repeated, limits.max_repetition)
    if limits.max_copied is not None and batch.copied is not None:
        yield REASONS["copied"], copied(batch.copied, limits.max_copied) & ~answers
    if limits.max_foreign is not None and batch.foreign is not None:
        yield REASONS["foreign"], foreign(batch.foreign, limits.max_foreign)
    if limits.drop_truncated and batch.truncated is not None:
        yield REASONS["truncated"], truncated(batch.truncated)
    if limits.only_if is not None:
        yield REASONS["only_if"], only_if(limits.only_if, batch.outcomes > config.success_threshold)
    if limits.mixed_groups_only:
        unmixed = mixed_groups_only(batch.outcomes, batch.group, config.success_threshold)
        yield REASONS["mixed_groups_only"], unmixed


def short_answer(characters: np.ndarray, names_answer: np.ndarray, most: int) -> np.ndarray:
    """Completions of at most `most` characters that name an answer of their own (n,) bool.

    They are exempt from `topic_floor`, because a sentence encoder finds little of the question in "7" or "The answer is
    B.", and from `max_copied`, because "What is 3 + 4? 7" is an answer too.

    Args:
        characters: characters of the encoded text (n,).
        names_answer: from `names_answer` (n,) bool.
    """
    return np.asarray((characters <= most) & names_answer)


def topic_floor(topic: np.ndarray, floor: float) -> np.ndarray:
    """Reject completions that have little to do with their prompt: cos(q, a) < floor.

    The only guard that stops refusals, empty answers and noise. A copied or padded prompt passes it. Short answers
    (`answer_chars`) are exempt, and with `topic_for: "encoded"` items whose embeddings were sent.

    Args:
        topic: cos(q, a) (n,).
    """
    return np.asarray(topic < floor)


def neighbour_floor(nearest: np.ndarray, floor: float) -> np.ndarray:
    """Reject items that read the memories of unrelated prompts: cos(q, nearest prompt read) < floor.

    Args:
        nearest: that cosine (n,): 1 for an item that reads its own prompt; NaN where nothing was read, which is not
            rejected because it has no value anyway.
    """
    return np.asarray(nearest < floor)


def too_short(characters: np.ndarray, least: int) -> np.ndarray:
    """Reject completions of fewer than `least` characters; `characters` (n,) counts those of the encoded text."""
    return np.asarray(characters < least)


def too_long(characters: np.ndarray, most: int) -> np.ndarray:
    """Reject completions of more than `most` characters, which stops padding; `characters` (n,) as in `too_short`."""
    return np.asarray(characters > most)


def repetition(share: np.ndarray, most: float) -> np.ndarray:
    """Reject completions that repeat themselves: `share` (n,), from `repeated_share`, > most."""
    return np.asarray(share > most)


def copied(share: np.ndarray, most: float) -> np.ndarray:
    """Reject completions that copy their prompt: `share` (n,), from `copied_share`, > most."""
    return np.asarray(share > most)


def foreign(stretch: np.ndarray, most: int) -> np.ndarray:
    """Reject completions with a long stretch of text that neither the prompt nor any sibling has: stretch > most.

    It stops text that is appended to a right answer or hidden in one, where the encoder still sees the answer.

    Args:
        stretch: the longest such stretch in bytes (n,), from `foreign_stretches`.
    """
    return np.asarray(stretch > most)


def truncated(cut: np.ndarray) -> np.ndarray:
    """Reject completions that the trainer cut at its length limit (n,): they never came to an answer."""
    return cut.astype(bool)


def only_if(side: Literal["correct", "incorrect"], right: np.ndarray) -> np.ndarray:
    """Reject the items of the other side: the component is for right completions only, or for wrong ones only.

    Args:
        right: outcome > `success_threshold` (n,) bool.
    """
    return np.asarray(right != (side == "correct"))


def mixed_groups_only(outcome: np.ndarray, group: np.ndarray, threshold: float) -> np.ndarray:
    """Reject the items of groups whose outcomes are all above the threshold or all at or below it.

    In such a group nothing but the memory reward distinguishes siblings, and a trainer that divides by the group's
    standard deviation would enlarge it to the size of a verdict.

    Args:
        outcome: R (n,).
        group: number of each item's group (n,).
    """
    if not len(group):
        return np.zeros(0, bool)
    right = np.bincount(group, outcome > threshold)[group]
    return np.asarray((right == 0) | (right == np.bincount(group)[group]))
