"""A request of completions as one of their turns: what a run scores whose unit is the turn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
from memr_client.errors import InvalidRequest, TooLarge
from memr_client.schemas import RunConfig

from memr_service.engine.inputs import Items, turn_key, turn_texts

T = TypeVar("T")

OF_A_COMPLETION = ("prompts", "outcomes", "prompt_ids", "labels")
"""Columns of a request that each turn has of its completion. The others that are read of a turn are the last one's."""


@dataclass(frozen=True)
class TurnItems:
    """The turns of n completions, m in all, as items: each a text with its completion's prompt, outcome and group."""

    items: Items
    turns_left: np.ndarray
    """How many turns of its completion follow each (m,)."""

    def of_last(self, column: Sequence[T]) -> list[T | None]:
        """A column (m,) with null for all turns but the last of each completion."""
        return [one if left == 0 else None for one, left in zip(column, self.turns_left.tolist(), strict=True)]


def by_turns(items: Items, config: RunConfig, law: int, most: int) -> TurnItems:
    """The turns of a request's completions under a run's config and law.

    Args:
        most: the most turns that a request may have.

    Raises:
        InvalidRequest: embeddings were sent. TooLarge: there are more turns.
    """
    request = items.request
    if items.sent is not None:
        raise InvalidRequest(
            "embeddings are of whole completions, but the run's unit is the turn: the service encodes each turn.",
            value=f"{len(items)} embeddings",
            limit="texts or chats",
            remedy="Send no embeddings, or create a run with unit='whole'.",
        )
    texts = [turn_texts(one, config.reasoning_tags, law) for one in request.completions]
    counts = np.array([len(one) for one in texts], np.int64)
    if (turns := int(counts.sum())) > most:
        raise TooLarge(
            f"The {len(items)} completions have {turns} turns, and each is an item.",
            value=turns,
            limit=most,
            remedy="Send fewer completions in a request, or raise MEMR_MAX_ITEMS.",
        )
    of = np.repeat(np.arange(len(items)), counts)
    place = np.arange(turns) - np.repeat(np.cumsum(counts) - counts, counts)
    left = (counts[of] - 1 - place).astype("<i4")
    ends = (left == 0).tolist()
    columns: dict[str, Any] = {name: _taken(getattr(request, name), of) for name in OF_A_COMPLETION}
    for name in ("answers", "references", "truncated"):
        column, nothing = _taken(getattr(request, name), of), False if name == "truncated" else None
        columns[name] = column and [one if is_last else nothing for one, is_last in zip(column, ends, strict=True)]
    columns["completions"] = [turn for one in texts for turn in one]
    keys = [
        items.keys[completion] if is_last else turn_key(items.keys[completion], at)
        for completion, at, is_last in zip(of.tolist(), place.tolist(), ends, strict=True)
    ]
    prompts = [items.prompts[completion] for completion in of.tolist()]
    taken = replace(
        items, request=request.model_copy(update=columns), prompts=prompts, keys=keys, group=items.group[of]
    )
    return TurnItems(taken, left)


def _taken(column: Sequence[T] | None, of: np.ndarray) -> list[T] | None:
    """A column of completions (n,) as one of their turns (m,)."""
    return None if column is None else [column[completion] for completion in of.tolist()]
