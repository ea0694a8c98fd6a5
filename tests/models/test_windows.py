"""Texts cut into windows ahead of the model that reads them."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
from memr_service.encoder import windows
from memr_service.encoder.windows import Chunk, Cutter
from support.tiny_models import tokenizer


class Noting:
    """The tiny tokenizer, and who called it."""

    def __init__(self) -> None:
        self.inner, self.truncation_side = tokenizer(), "right"
        self.threads: list[str] = []

    def __call__(self, texts: list[str], **how: Any) -> Any:
        self.threads.append(threading.current_thread().name)
        self.inner.truncation_side = self.truncation_side
        return self.inner(texts, **how)


def ids(chunks: list[Chunk]) -> list[list[int]]:
    """The head windows of all texts."""
    return [
        chunk.heads.columns["input_ids"][place]
        for chunk in chunks
        for first, count in zip(chunk.heads.first.tolist(), chunk.heads.count.tolist(), strict=True)
        for place in range(first, first + count)
    ]


def test_many_texts_are_cut_ahead_by_another_thread_and_come_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = ["abc", "the quick brown fox jumps", "", "zz", "a b c d e f g h i j k l m n o p"]
    together = list(Cutter(tokenizer(), "", 16).chunks(texts, "windows"))
    monkeypatch.setattr(windows, "CHUNK", 2)
    noting = Noting()
    ahead = list(Cutter(noting, "", 16).chunks(texts, "windows"))
    assert [len(chunk.heads.count) for chunk in ahead] == [2, 2, 1]
    assert ids(ahead) == ids(together)
    assert len(together) == 1
    assert all(name.startswith("memr-tokenizer") for name in noting.threads)


def test_only_auto_wants_the_tails_and_only_of_texts_that_are_too_long() -> None:
    cutter, texts = Cutter(tokenizer(), "", 6), ["abcd", "abcdefgh", "a"]
    for long_text in ("truncate", "windows"):
        (chunk,) = cutter.chunks(texts, long_text)
        assert chunk.tails is None
    (chunk,) = cutter.chunks(texts, "auto")
    assert chunk.heads.count.tolist() == [1, 2, 1]
    assert chunk.tails is not None
    (whole,) = cutter.chunks(["efgh"], "truncate")
    assert len(chunk.tails.first) == 1
    tail = chunk.tails.columns["input_ids"][chunk.tails.first[0]]
    assert tail[2:] == whole.heads.columns["input_ids"][0][2:]  # "##e" within a word, "e" at its start
    assert np.array_equal(chunk.tails.count, [2])


def test_the_tokenizer_cuts_from_its_own_side_again_afterwards() -> None:
    noting = Noting()
    list(Cutter(noting, "", 6).chunks(["abcdefgh"], "auto"))
    assert noting.truncation_side == "right"
