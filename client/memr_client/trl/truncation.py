"""Completions that the trainer cut off at its length limit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def truncated(completion_ids: Sequence[Sequence[int]] | None, trainer: Any) -> list[bool] | None:
    """Whether each completion (n) was cut off at the trainer's length limit; None if that is unknown."""
    limit = getattr(getattr(trainer, "args", None), "max_completion_length", None)
    processor = getattr(trainer, "processing_class", None)
    if completion_ids is None or limit is None or processor is None:
        return None
    tokenizer = getattr(processor, "tokenizer", processor)  # a processor of images and text has a tokenizer
    ends = {tokenizer.eos_token_id, tokenizer.pad_token_id}
    return [len(ids) >= limit and ids[-1] not in ends for ids in completion_ids]
