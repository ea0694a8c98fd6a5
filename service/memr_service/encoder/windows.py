"""Texts as windows of as many tokens as a model can read at once, cut while the model reads earlier ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

CHUNK = 256
"""Texts that are tokenized together, while the model reads the chunk before."""

Columns = dict[str, list[list[int]]]
"""What a tokenizer gives for each window: `input_ids`, and whatever else the model needs."""


@dataclass(frozen=True)
class Windows:
    """n texts as windows."""

    columns: Columns
    first: np.ndarray
    """(n,) the first window of each text."""
    count: np.ndarray
    """(n,) how many windows it has; they follow one another."""


@dataclass(frozen=True)
class Chunk:
    """Some of the texts to encode."""

    heads: Windows
    """All texts, cut from their start."""
    tails: Windows | None
    """The texts that do not fit into one window, cut from their end; None if not needed."""


class Cutter:
    """Cuts texts with a Hugging Face tokenizer.

    cutter = Cutter(tokenizer, prompt="", max_length=256)
    next(cutter.chunks(["two", "texts"], "truncate")).heads.count                       # [1, 1]
    """

    def __init__(self, tokenizer: Any, prompt: str, max_length: int | None) -> None:
        self._tokenizer = tokenizer
        self._prompt = prompt
        self._max_length = max_length

    def chunks(self, texts: Sequence[str], long_text: str) -> Iterator[Chunk]:
        """Cut the texts in order, chunk by chunk.

        The tokenizer works without holding the interpreter's lock, so it runs while the model does.
        """
        if len(texts) <= CHUNK:
            yield self._chunk(texts, long_text)
            return
        parts = [texts[at : at + CHUNK] for at in range(0, len(texts), CHUNK)]
        with ThreadPoolExecutor(1, "memr-tokenizer") as ahead:
            yield from ahead.map(self._chunk, parts, [long_text] * len(parts))

    def _chunk(self, texts: Sequence[str], long_text: str) -> Chunk:
        heads = self._windows(texts)
        long = np.flatnonzero(heads.count > 1).tolist()
        wanted = long_text == "auto" and long
        return Chunk(heads, self._windows([texts[item] for item in long], from_end=True) if wanted else None)

    def _windows(self, texts: Sequence[str], *, from_end: bool = False) -> Windows:
        """All windows of the texts. Cut from the end, a text's first window is full and holds its end."""
        side = self._tokenizer.truncation_side
        self._tokenizer.truncation_side = {"right": "left", "left": "right"}[side] if from_end else side
        try:
            columns = self._tokenizer(
                [self._prompt + text for text in texts],
                truncation=self._max_length is not None,
                max_length=self._max_length,
                return_overflowing_tokens=True,
                padding=False,  # whatever the tokenizer's file says: padding is up to the model
            )
        finally:
            self._tokenizer.truncation_side = side
        owner = np.asarray(columns.pop("overflow_to_sample_mapping"))
        return Windows(dict(columns), np.flatnonzero(np.diff(owner, prepend=-1)), np.bincount(owner))
