"""Which completions the trainer cut off."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def truncated(completion_ids: Sequence[Sequence[int]] | None, trainer: Any) -> list[bool] | None:
    """Whether each completion (n) ends at the trainer's length limit and not by itself; None: it cannot be known."""
    limit = getattr(getattr(trainer, "args", None), "max_completion_length", None)
    processor = getattr(trainer, "processing_class", None)
    if completion_ids is None or limit is None or processor is None:
        return None
    tokenizer = getattr(processor, "tokenizer", processor)  # a processor of images and text holds one
    ends = {tokenizer.eos_token_id, tokenizer.pad_token_id}
    return [len(ids) >= limit and ids[-1] not in ends for ids in completion_ids]
